'use strict';

// How long `getFlag` takes in the real SDK.
//
// stdin: one line {"options": {of init}, "flagKey", "contexts": [...]}, then a line for each round wanted.
// stdout: a line when ready, then for each round a JSON list of milliseconds, one a context.

const readline = require('node:readline');
const { init } = require('vwo-fme-node-sdk');

async function main() {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const job = JSON.parse((await lines.next()).value);
  const client = await init({ logger: { transport: { log() {} } }, ...job.options });
  process.stdout.write('ready\n');
  for await (const _ of lines) {
    const took = [];
    for (const context of job.contexts) {
      const started = performance.now();
      await client.getFlag(job.flagKey, { ...context });
      took.push(performance.now() - started);
    }
    process.stdout.write(`${JSON.stringify(took)}\n`);
  }
  process.exit(0);
}

main();
