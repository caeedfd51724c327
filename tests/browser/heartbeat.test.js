// The round trip, and the silence of a relay that is gone without a word.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heartbeat, PING_INTERVAL_MS, SILENCE_MS_MAX } from '../../web/sdk/heartbeat.js';

/** @param {import('node:test').TestContext} t */
function start(t) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const told = { pings: /** @type {number[]} */ ([]), measured: 0, silent: 0 };
  const heartbeat = new Heartbeat({
    ping: (token) => void told.pings.push(token), measured: () => void told.measured++, silent: () => void told.silent++, now: () => Date.now(),
  });
  t.after(() => heartbeat.stop());
  return { heartbeat, told };
}

test('the round trip is measured at once, again and again, and smoothed', (t) => {
  const { heartbeat, told } = start(t);
  assert.deepEqual([told.pings, heartbeat.roundTripMs], [[1], null]);
  t.mock.timers.tick(40);
  heartbeat.pong(1);
  t.mock.timers.tick(PING_INTERVAL_MS - 40);
  t.mock.timers.tick(80);
  heartbeat.pong(2);
  heartbeat.pong(2);
  heartbeat.pong(99);
  assert.deepEqual([told.pings, heartbeat.roundTripMs, told.measured], [[1, 2], 50, 2]);
});

test('a relay that does not answer is given up once, and one that answers slowly is not', (t) => {
  const { heartbeat, told } = start(t);
  for (let beat = 0; beat < 20; beat++) {
    t.mock.timers.tick(PING_INTERVAL_MS);
    heartbeat.pong(told.pings.length - 2);
  }
  assert.equal(told.silent, 0);
  t.mock.timers.tick(SILENCE_MS_MAX - 2 * PING_INTERVAL_MS);
  assert.equal(told.silent, 0);
  for (let beat = 0; beat < 20; beat++) t.mock.timers.tick(PING_INTERVAL_MS);
  assert.equal(told.silent, 1);
});

test('a way to the relay that is dead is noticed within six seconds while the way back lives, and a silence of both is not taken for it', (t) => {
  const { heartbeat, told } = start(t);
  const pass = (/** @type {number} */ ms, /** @type {boolean} */ isHeard) => {
    for (let gone = 0; gone < ms; gone += 100) {
      t.mock.timers.tick(100);
      if (isHeard) heartbeat.heard();
    }
  };
  pass(7000, false);
  pass(1900, true);
  assert.equal(told.silent, 0);
  heartbeat.pong(told.pings.length);
  pass(PING_INTERVAL_MS, true);
  heartbeat.pong(told.pings.length);
  pass(3900, true);
  assert.equal(told.silent, 0);
  pass(2100, true);
  assert.equal(told.silent, 1);
});
