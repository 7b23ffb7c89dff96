'use strict';

// Decisions of the real SDK for many settings in one process, without a network: the SDK's own option `network.client`
// gets a client that answers from the job and notes what is asked and sent.
//
// stdin, JSON lines, one job a settings document:
//   {"settings", "lists": {list id: [members]}, "cases": [{"flag", "context", "stored": {key: mapping}, "details"}]}
//   (details: what /get-user-details answers; null: no answer)
// stdout, JSON lines, one a job: {"usable": bool, "results": [one a case]}, a result being
//   {"enabled", "variables", "integration", "exposures": [[campaign, variation]], "stored": [mappings], "questions"}
//   (questions: ["list", value, list id] or ["details", user agent, ip address], both decoded once)
// With {"measure": seconds} in a job: {"decisions", "seconds"} of its cases evaluated over and over.

const readline = require('node:readline');
const { init } = require('vwo-fme-node-sdk');

// Each client would poll for settings for ever, and so never be collected.
const { setTimeout: later } = globalThis;
globalThis.setTimeout = (task, ms, ...rest) => (ms >= 60_000 ? undefined : later(task, ms, ...rest));

// The SDK leaves promises unobserved where it refuses to store a decision; Node would end the process.
process.on('unhandledRejection', () => {});

let now = { lists: {}, case: {}, seen: null };

function fresh() {
  return { integration: null, exposures: [], stored: [], questions: [] };
}

const answered = (data) =>
  Promise.resolve({ getData: () => data, getStatusCode: () => 200, getTotalAttempts: () => 0, getError: () => undefined });

const client = {
  GET(request) {
    const query = request.getQuery();
    if (request.getPath().includes('check-attribute')) {
      now.seen.questions.push(['list', String(query.attribute), query.listId]);
      return answered((now.lists[query.listId] ?? []).includes(String(query.attribute)));
    }
    const given = (value) => (value === undefined ? null : decodeURIComponent(value));
    now.seen.questions.push(['details', given(query.userAgent), given(query.ipAddress)]);
    return now.case.details === null ? Promise.reject(new Error('no details')) : answered(now.case.details);
  },
  POST(request) {
    const { event } = request.getBody()?.d ?? {};
    if (event?.name === 'vwo_variationShown') now.seen.exposures.push([event.props.id, event.props.variation]);
    return answered({});
  },
};

const storage = {
  async get(key) {
    return now.case.stored[key] ?? {};
  },
  async set(data) {
    now.seen.stored.push(data);
  },
};

async function clientFor(settings) {
  return init({
    accountId: String(settings.accountId ?? 1),
    sdkKey: 'key',
    settings,
    gatewayService: { url: 'http://127.0.0.1:1' },
    network: { client },
    storage,
    isUsageStatsDisabled: true,
    logger: { level: 'ERROR', transport: { level: 'ERROR', log() {} } },
    integrations: { callback: (payload) => (now.seen.integration = { ...payload }) },
  });
}

async function decide(vwo, one) {
  now.case = one;
  now.seen = fresh();
  const flag = await vwo.getFlag(one.flag, one.context);
  return { enabled: flag.isEnabled(), variables: flag.getVariables(), ...now.seen };
}

async function measure(vwo, cases, seconds) {
  const started = performance.now();
  let decisions = 0;
  while (performance.now() - started < seconds * 1000) {
    for (const one of cases) await decide(vwo, { ...one, context: { ...one.context } });
    decisions += cases.length;
  }
  return { decisions, seconds: (performance.now() - started) / 1000 };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const job = JSON.parse(line);
    now = { lists: job.lists, case: {}, seen: fresh() };
    const vwo = await clientFor(job.settings);
    let answer = { usable: Boolean(vwo?.isSettingsValid), results: [] };
    if (job.measure) answer = await measure(vwo, job.cases, job.measure);
    else if (answer.usable) for (const one of job.cases) answer.results.push(await decide(vwo, one));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

// The SDK writes what it finds wrong at init to the console, which would mix with the answers.
console.error = console.info = console.log = () => {};
main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
