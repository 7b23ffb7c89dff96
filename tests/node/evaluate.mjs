import { init } from 'vwo-fme-node-sdk';
import driver from './driver.cjs';

await driver.evaluate(init);
