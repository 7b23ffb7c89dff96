'use strict';

// The real SDK makes the calls of a script, one after the other. With Node's http here; client_calls.mjs has it use fetch.
//
// stdin, one JSON job:
//   {"options": {of init}, "calls": [{"method", "arguments"}], "vwo": {port of loopback that VWO's own host is, optional}}
//   (a method of the client, or a function of the package)
// stdout, one JSON list: what each call answered; of a flag {"enabled", "variables"}.

const http = require('node:http');
const https = require('node:https');

const { stayOnLoopback } = require('./loopback.cjs');

function answerForVwo(port) {
  const here = (options) => ({ ...options, protocol: 'http:', hostname: '127.0.0.1', port });
  https.request = (options, callback) => http.request(here(options), callback);
  https.get = (options, callback) => http.get(here(options), callback);
}

async function makeCalls(load) {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  const job = JSON.parse(text);
  stayOnLoopback();
  if (job.vwo) answerForVwo(job.vwo);
  const sdk = await load();
  const client = await sdk.init({ retryConfig: { shouldRetry: false }, logger: { transport: { log() {} } }, ...job.options });
  const answers = [];
  for (const call of job.calls) {
    const answer = await (call.method in client ? client : sdk)[call.method](...call.arguments);
    answers.push(
      call.method === 'getFlag' ? { enabled: answer.isEnabled(), variables: answer.getVariables() } : answer ?? null,
    );
  }
  // The SDK's polling timer would keep the process alive.
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

module.exports = { makeCalls };
if (require.main === module) makeCalls(() => require('vwo-fme-node-sdk'));
