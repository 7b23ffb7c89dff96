'use strict';

// The real SDK makes the calls of a script, one after the other.
//
// stdin, one JSON job:
//   {"options": {of init}, "calls": [{"method", "arguments"}], "vwo": {port of loopback that VWO's own host is, optional}}
// stdout, one JSON list: what each call answered; of a flag {"enabled", "variables"}.

const http = require('node:http');
const https = require('node:https');

const { stayOnLoopback } = require('./loopback.cjs');

function answerForVwo(port) {
  const here = (options) => ({ ...options, protocol: 'http:', hostname: '127.0.0.1', port });
  https.request = (options, callback) => http.request(here(options), callback);
  https.get = (options, callback) => http.get(here(options), callback);
}

async function main() {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  const job = JSON.parse(text);
  stayOnLoopback();
  if (job.vwo) answerForVwo(job.vwo);
  const { init } = require('vwo-fme-node-sdk');
  const client = await init({ retryConfig: { shouldRetry: false }, logger: { transport: { log() {} } }, ...job.options });
  const answers = [];
  for (const call of job.calls) {
    const answer = await client[call.method](...call.arguments);
    answers.push(
      call.method === 'getFlag' ? { enabled: answer.isEnabled(), variables: answer.getVariables() } : answer ?? null,
    );
  }
  // The SDK's polling timer would keep the process alive.
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

main();
