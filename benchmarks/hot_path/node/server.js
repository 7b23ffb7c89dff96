'use strict';

// The check route as one writes it for Node: PORT, REDIS_HOST and REDIS_PORT say where.

const http = require('node:http');
const { Redis } = require('ioredis');

const store = new Redis({
  host: process.env.REDIS_HOST,
  port: Number(process.env.REDIS_PORT),
  enableAutoPipelining: true, // the commands of one turn of the event loop leave together: it is the faster way
});

const server = http.createServer(async (request, response) => {
  const query = new URLSearchParams(request.url.slice(request.url.indexOf('?') + 1));
  const key = `cg:{${query.get('accountId')}:${query.get('listId')}}:members`;
  const found = await store.sismember(key, query.get('attribute'));
  response.setHeader('Content-Type', 'application/json');
  response.end(found === 1 ? 'true' : 'false');
});

server.keepAliveTimeout = 75_000;
server.listen(Number(process.env.PORT), '127.0.0.1');
