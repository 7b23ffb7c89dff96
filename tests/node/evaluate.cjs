'use strict';

const { init } = require('vwo-fme-node-sdk');
const { evaluate } = require('./driver.cjs');

evaluate(init);
