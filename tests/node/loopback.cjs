'use strict';

const dns = require('node:dns');
const net = require('node:net');

// The SDK posts some events to VWO's own host. Tests reach nothing but loopback, so other names are not even asked for.
function stayOnLoopback() {
  const lookup = dns.lookup;
  dns.lookup = (hostname, ...rest) => {
    if (hostname === 'localhost' || net.isIP(hostname)) return lookup(hostname, ...rest);
    const refusal = Object.assign(new Error(`${hostname} is not loopback`), { code: 'ENOTFOUND', hostname });
    return process.nextTick(rest.at(-1), refusal);
  };
}

module.exports = { stayOnLoopback };
