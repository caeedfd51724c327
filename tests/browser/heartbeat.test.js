// The round trip, and the silence of a relay that is gone without a word.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEAF_MS, DOUBT_MS, Heartbeat, LATE_MS, PING_INTERVAL_MS, QUIET_MS, SILENCE_MS_MAX, STILL_MS, UNHEARD_MS } from '../../web/sdk/heartbeat.js';

/** @param {import('node:test').TestContext} t */
function start(t) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  const told = { pings: /** @type {number[]} */ ([]), measured: 0, quiet: /** @type {boolean[]} */ ([]), silent: 0, unheard: /** @type {boolean[]} */ ([]) };
  let [busyMs, isSending, act] = [0, false, () => {}];
  const heartbeat = new Heartbeat({
    ping: (token) => void told.pings.push(token), measured: () => void told.measured++,
    quiet: (isQuiet) => {
      told.quiet.push(isQuiet);
      act();
    },
    silent: () => void told.silent++, unheard: (isUnheard) => void told.unheard.push(isUnheard), isSending: () => isSending,
    now: () => Date.now() + busyMs,
  });
  t.after(() => heartbeat.stop());
  /** Time goes on. @param {number} ms @param {number} bytesEach that are heard every tenth of a second */
  const pass = (ms, bytesEach) => {
    for (let gone = 0; gone < ms; gone += 100) {
      t.mock.timers.tick(100);
      if (bytesEach > 0) heartbeat.heard(bytesEach);
    }
  };
  /** Time goes on while all is answered. @param {number} beats @param {number} bytesEach */
  const answer = (beats, bytesEach) => {
    for (let beat = 0; beat < beats; beat++) {
      pass(PING_INTERVAL_MS, bytesEach);
      heartbeat.pong(told.pings.length);
    }
  };
  /** The page does not come to anything. @param {number} ms */
  const beBusy = (ms) => void (busyMs += ms);
  const send = () => void (isSending = true);
  const whenQuiet = (/** @type {() => void} */ next) => void (act = next);
  return { heartbeat, told, pass, answer, beBusy, send, whenQuiet };
}

/** Bytes of a tenth of a second: of media, of a voice that is left when nothing goes up, and of what gets through where hardly anything does. */
const [MEDIA, VOICE, TRICKLE] = [2500, 400, 12];

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

test('a network that is silent is told of long before it is given up, and that it is over', (t) => {
  const { heartbeat, told, pass, answer } = start(t);
  answer(3, MEDIA);
  pass(QUIET_MS - 100, 0);
  assert.deepEqual(told.quiet, []);
  pass(700, 0);
  assert.deepEqual([told.quiet, heartbeat.isQuiet, told.silent], [[true], true, 0]);
  pass(1000, 0);
  heartbeat.heard(10);
  assert.deepEqual([told.quiet, heartbeat.isQuiet], [[true, false], false]);
});

/** Between two looks, in milliseconds. */
const LOOK_MS = 250;

test('that nothing comes where media came is known after a second, and it is over with what comes', (t) => {
  const { heartbeat, told, pass, answer } = start(t);
  answer(3, MEDIA);
  const pings = told.pings.length;
  pass(DOUBT_MS - 100, 0);
  assert.equal(told.pings.length, pings);
  pass(UNHEARD_MS - DOUBT_MS, 0);
  assert.deepEqual([told.unheard, told.pings.length > pings], [[], true], 'it is asked first');
  pass(LOOK_MS + 100, 0);
  assert.deepEqual(told.unheard, [true]);
  heartbeat.heard(10);
  assert.deepEqual(told.unheard, [true, false]);
});

test('whoever is told that it is quiet may end it', (t) => {
  const { heartbeat, told, pass, answer, whenQuiet } = start(t);
  answer(3, MEDIA);
  let pings = 0;
  whenQuiet(() => {
    heartbeat.stop();
    pings = told.pings.length;
  });
  while (pings === 0) pass(100, 0);
  assert.equal(told.pings.length, pings, 'nothing is asked after that');
});

test('so is the end of all answers to one who sends media to others', (t) => {
  const { told, pass, answer, send } = start(t);
  send();
  answer(3, 12);
  pass(UNHEARD_MS + LOOK_MS, 0);
  assert.deepEqual(told.unheard, [true]);
});

test('where answers take long they are waited for', (t) => {
  const { heartbeat, told, pass, answer } = start(t);
  answer(3, MEDIA);
  heartbeat.roundTripMs = 1000;
  pass(DOUBT_MS + 1900, 0);
  assert.deepEqual(told.unheard, []);
  pass(2 * LOOK_MS, 0);
  assert.deepEqual(told.unheard, [true]);
});

test('a room where nobody says anything is not asked more often, and its network is missed with the next answer', (t) => {
  const { heartbeat, told, pass } = start(t);
  for (let beat = 0; beat < 10; beat++) {
    heartbeat.heard(10);
    heartbeat.pong(told.pings.length);
    pass(PING_INTERVAL_MS, 0);
  }
  heartbeat.heard(10);
  assert.deepEqual([told.unheard, told.pings.length], [[], 11]);
  pass(PING_INTERVAL_MS + UNHEARD_MS, 0);
  assert.deepEqual(told.unheard, [true]);
});

test('a page that was busy or asleep hears what came before it says that nothing does', (t) => {
  const { heartbeat, told, pass, answer, beBusy } = start(t);
  answer(3, MEDIA);
  pass(DOUBT_MS + 100, 0);
  beBusy(60_000);
  pass(DOUBT_MS, 0);
  assert.deepEqual(told.unheard, []);
  heartbeat.heard(10);
  pass(UNHEARD_MS + LOOK_MS, 0);
  assert.deepEqual(told.unheard, [true]);
});

test('answers alone are enough, however long they take', (t) => {
  const { heartbeat, told, pass } = start(t);
  for (let beat = 0; beat < 10; beat++) {
    pass(PING_INTERVAL_MS, 0);
    heartbeat.heard(10);
    heartbeat.pong(told.pings.length - 3);
  }
  assert.deepEqual([told.quiet, told.silent], [[], 0]);
});

test('what came while a page was busy is read before it says that nothing comes', (t) => {
  const { heartbeat, told, pass, answer, beBusy } = start(t);
  answer(3, MEDIA);
  beBusy(20_000);
  pass(100, 0);
  heartbeat.heard(10);
  pass(PING_INTERVAL_MS, MEDIA);
  assert.deepEqual(told.quiet, []);
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

test('a way to the relay that is dead is noticed within six seconds while the way back lives', (t) => {
  for (const bytes of [MEDIA, VOICE, TRICKLE]) {
    const { told, pass, answer } = start(t);
    answer(5, bytes);
    pass(DEAF_MS - 100, bytes);
    assert.equal(told.silent, 0);
    pass(PING_INTERVAL_MS + 100, bytes);
    assert.equal(told.silent, 1, `${bytes} bytes each tenth of a second`);
    t.mock.timers.reset();
  }
});

test('also where media went both ways, and the voice of one is left', (t) => {
  const { told, pass, answer } = start(t);
  answer(5, MEDIA);
  pass(DEAF_MS + PING_INTERVAL_MS, VOICE);
  assert.equal(told.silent, 1);
});

test('after both ways stood still, what was sent meanwhile has time to arrive', (t) => {
  for (const stillMs of [STILL_MS + 100, 3000, 7000]) {
    const { heartbeat, told, pass, answer } = start(t);
    answer(5, MEDIA);
    pass(stillMs, 0);
    // What is lost is sent again after ever longer waits: half as long as it stood still may be left of the last.
    pass(Math.min(stillMs, DEAF_MS) - 200, MEDIA);
    heartbeat.pong(told.pings.length);
    answer(5, MEDIA);
    assert.equal(told.silent, 0, `${stillMs} ms`);
    t.mock.timers.reset();
  }
});

test('where hardly anything comes back any more, answers are late like everything else', (t) => {
  const { heartbeat, told, pass, answer } = start(t);
  answer(5, MEDIA);
  for (let round = 0; round < 5; round++) {
    pass(SILENCE_MS_MAX - PING_INTERVAL_MS, TRICKLE);
    heartbeat.pong(told.pings.length);
  }
  assert.equal(told.silent, 0);
  pass(SILENCE_MS_MAX + 2 * PING_INTERVAL_MS, TRICKLE);
  assert.equal(told.silent, 1);
});

test('a page that was busy or asleep listens before it judges', (t) => {
  for (const busyMs of [PING_INTERVAL_MS + LATE_MS, SILENCE_MS_MAX, 60_000]) {
    const { heartbeat, told, pass, answer, beBusy } = start(t);
    answer(5, MEDIA);
    pass(PING_INTERVAL_MS + 100, MEDIA);
    beBusy(busyMs);
    // Timers come first, and then what had arrived in the meantime: datagrams before what came on streams.
    pass(PING_INTERVAL_MS - 100, MEDIA);
    assert.equal(told.silent, 0, `${busyMs} ms`);
    heartbeat.pong(told.pings.length);
    answer(5, MEDIA);
    assert.equal(told.silent, 0, `${busyMs} ms`);
    beBusy(busyMs);
    pass(2 * SILENCE_MS_MAX, 0);
    assert.equal(told.silent, 1);
    t.mock.timers.reset();
  }
});

test('a page whose beats are all late gives a relay up that does not answer, and none that does', (t) => {
  for (const answers of [true, false]) {
    const { heartbeat, told, pass, answer, beBusy } = start(t);
    answer(5, VOICE);
    for (let beat = 0; beat < 4; beat++) {
      // As in the background of a browser, where timers come once a minute.
      beBusy(58_000);
      pass(PING_INTERVAL_MS, 0);
      if (answers) heartbeat.pong(told.pings.length);
    }
    assert.equal(told.silent > 0, !answers);
    t.mock.timers.reset();
  }
});
