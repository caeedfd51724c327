// How many requests leave, in made-up time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Asks } from '../../web/sdk/media/receive/asks.js';

test('a hundred and fifty requests leave at once, then three hundred a second', () => {
  const asks = new Asks();
  const taken = (/** @type {number} */ nowMs) => Array.from({ length: 1000 }, () => asks.take(nowMs)).filter(Boolean).length;
  assert.deepEqual([taken(1000), taken(1000), taken(1100), taken(9000)], [150, 0, 30, 150]);
});
