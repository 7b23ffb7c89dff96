'use strict';

// What evaluate.cjs (network stack: Node's http) and evaluate.mjs (fetch) share.
//
// stdin, one JSON job:
//   {"gateway": {"url", "port", "protocol"}, "accountId", "sdkKey", "flagKey",
//    "contexts": [{"id", "customVariables", ...}], "options": {further options of init, optional},
//    "aliases": [[user, alias], ...]}: set before the first decision
// stdout, JSON lines: one {"id", "enabled", "variables", "ms"} a context, in order, and last
//   {"log": [{"level", "message"}], "requests": [{"method", "host", "path", "status"}]}
//   (status null: no answer; the path comes without its query, which holds ids).

const { subscribe } = require('node:diagnostics_channel');

const { stayOnLoopback } = require('./loopback.cjs');

// Node publishes each HTTP call on a channel, for http and for fetch, so the SDK's own calls are seen untouched.
class RequestLog {
  constructor() {
    this.requests = [];
    this.open = new Map();
    this.idle = () => {};
    this.watchHttp();
    this.watchFetch();
  }

  watchHttp() {
    subscribe('http.client.request.start', ({ request }) => {
      this.start(request, request.method, request.getHeader('host'), request.path);
      request.once('response', ({ statusCode }) => this.answer(request, statusCode));
      request.once('close', () => this.end(request));
    });
  }

  watchFetch() {
    subscribe('undici:request:create', ({ request }) => {
      this.start(request, request.method, new URL(request.origin).host, request.path);
    });
    subscribe('undici:request:headers', ({ request, response }) => this.answer(request, response.statusCode));
    subscribe('undici:request:trailers', ({ request }) => this.end(request));
    subscribe('undici:request:error', ({ request }) => this.end(request));
  }

  start(key, method, host, path) {
    const record = { method, host, path: path.split('?')[0], status: null };
    this.requests.push(record);
    this.open.set(key, record);
  }

  answer(key, status) {
    const record = this.open.get(key);
    if (record) record.status = status;
  }

  end(key) {
    this.open.delete(key);
    if (this.open.size === 0) this.idle();
  }

  // Resolves once every call has ended and none follows in the next turns of the event loop.
  async settled() {
    for (let quiet = 0; quiet < 3; quiet += 1) {
      await new Promise(setImmediate);
      if (this.open.size === 0) continue;
      await new Promise((resolve) => {
        this.idle = resolve;
      });
      quiet = -1;
    }
  }
}

async function readJob() {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  return JSON.parse(text);
}

async function evaluate(init) {
  stayOnLoopback();
  const calls = new RequestLog();
  const job = await readJob();
  const log = [];
  const client = await init({
    accountId: job.accountId,
    sdkKey: job.sdkKey,
    gatewayService: job.gateway,
    logger: { level: 'DEBUG', transport: { level: 'DEBUG', log: (level, message) => log.push({ level, message }) } },
    ...job.options,
  });
  const lines = [];
  for (const [user, alias] of job.aliases ?? []) await client.setAlias(user, alias);
  for (const context of job.contexts) {
    const started = performance.now();
    const flag = await client.getFlag(job.flagKey, context);
    lines.push({
      id: context.id,
      enabled: flag.isEnabled(),
      variables: flag.getVariables(),
      ms: performance.now() - started,
    });
  }
  await calls.settled();
  lines.push({ log, requests: calls.requests });
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  // The SDK's polling timer would keep the process alive.
  process.stdout.write(text, () => process.exit(0));
}

module.exports = { evaluate };
