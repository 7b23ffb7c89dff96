import client from './client_calls.cjs';

await client.makeCalls(() => import('vwo-fme-node-sdk'));
