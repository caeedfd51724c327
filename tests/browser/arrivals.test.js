// Datagrams on their way to the worker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arrivals } from '../../web/sdk/media/receive/arrivals.js';

/** @param {number} number */
const datagram = (number) => Uint8Array.of(number);

/** @param {'later' | 'never'} when */
function arrivals(when) {
  const sent = /** @type {number[][]} */ ([]);
  const waiting = /** @type {(() => void)[]} */ ([]);
  const later = when === 'later' ? (/** @type {() => void} */ act) => waiting.push(act) : null;
  return { sent, waiting, arrivals: new Arrivals((datagrams) => sent.push(datagrams.map(([number]) => number)), later) };
}

test('what comes together goes together, in order, and what comes afterwards goes next', () => {
  const { sent, waiting, arrivals: all } = arrivals('later');
  for (const number of [1, 2, 3]) all.push(datagram(number));
  assert.deepEqual([sent, waiting.length], [[], 1]);
  waiting.shift()?.();
  all.push(datagram(4));
  waiting.shift()?.();
  assert.deepEqual(sent, [[1, 2, 3], [4]]);
});

test('what waits goes before something else, once', () => {
  const { sent, waiting, arrivals: all } = arrivals('later');
  all.push(datagram(1));
  all.flush();
  waiting.shift()?.();
  assert.deepEqual(sent, [[1]]);
});

test('where nothing can be done later, each goes at once', () => {
  const { sent, arrivals: all } = arrivals('never');
  for (const number of [1, 2]) all.push(datagram(number));
  assert.deepEqual(sent, [[1], [2]]);
});
