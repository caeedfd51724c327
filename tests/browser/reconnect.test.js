// When to try again: rules, as input and output.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECONNECT_JITTER_MS_MAX, pause, reconnectDelayMs } from '../../web/sdk/reconnect.js';

const ATTEMPTS = [0, 1, 2, 3, 4, 5, 6, 1000];

test('waits grow to seven seconds and no further', () => {
  assert.deepEqual(ATTEMPTS.map((attempt) => reconnectDelayMs(attempt, () => 0)), [0, 300, 1200, 2700, 4800, 7000, 7000, 7000]);
});

test('chance adds at most the wait itself and at most a second, and 0.3 seconds to the first try', () => {
  const most = ATTEMPTS.map((attempt) => reconnectDelayMs(attempt, () => 1));
  assert.deepEqual(most, [300, 600, 2200, 3700, 5800, 8000, 8000, 8000]);
  assert.equal(reconnectDelayMs(5, () => 0.5), 7000 + RECONNECT_JITTER_MS_MAX / 2);
});

test('a wait ends when its time is over, when the network is back, or when it is given up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const network = new EventTarget();
  Object.assign(globalThis, { addEventListener: network.addEventListener.bind(network) });
  t.after(() => Reflect.deleteProperty(globalThis, 'addEventListener'));
  const { signal } = new AbortController();
  const regular = pause(100, signal);
  t.mock.timers.tick(100);
  await regular;
  const cut = pause(100, signal);
  network.dispatchEvent(new Event('online'));
  await cut;
  const leaving = new AbortController();
  const left = pause(100, leaving.signal);
  leaving.abort();
  await left;
  await pause(100, leaving.signal);
});
