// A seat that comes back to WebTransport: the next session stands before the one before ends. Carriers and time are made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TertuliaError } from '../../web/sdk/error.js';
import { STEADY_MS, returnDelayMs } from '../../web/sdk/reconnect.js';
import { Sessions } from '../../web/sdk/sessions.js';
import { decodeServerMessage } from '../../web/sdk/wire.js';
import { FakeCarrier, join, pass } from './carriers.js';

/** Until WebTransport is tried again: the first time, and the second. */
const [RETURN_MS, RETURN_AGAIN_MS] = [0, 1].map((attempt) => returnDelayMs(attempt, () => 1));
const replaced = /** @type {const} */ ({ type: 'closing', reason: 'replaced', message: '' });

/** Someone who is in, over WebSocket because UDP is blocked where no WebTransport is given. @param {import('node:test').TestContext} t @param {FakeCarrier} websocket @param {FakeCarrier} [webtransport] @param {string} [transport] */
async function begin(t, websocket, webtransport = new FakeCarrier('webtransport', { afterMs: null }), transport) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.mock.method(Math, 'random', () => 1);
  const told = /** @type {string[]} */ ([]);
  /** Why the relay lets nobody in. @type {import('../../web/sdk/error.js').ErrorCode | null} */
  let refusal = null;
  /** What a try waits for first. @type {Promise<void>} */
  let token = Promise.resolve();
  const attempt = async (/** @type {unknown} */ _url, /** @type {unknown} */ _options, /** @type {unknown} */ _past, /** @type {AbortSignal} */ signal) => {
    await token;
    if (refusal) throw new TertuliaError(refusal, 'No.');
    return { webtransport: webtransport.open, websocket: websocket.open, join, signal };
  };
  /** @type {Sessions} */
  const sessions = new Sessions({ name: 'Ana', transport }, () => ({ ticket: null, chatAfter: { epoch: 1, sequence: 0 } }), {
    stateChanged: (state) => void told.push(state),
    seated: () => void told.push('seated'),
    began: () => void told.push('began'),
    heard: (_, message) => {
      const said = decodeServerMessage(message);
      told.push(said.type);
      // As a room does.
      if (said.type === 'closing') sessions.lose(said);
    },
    media() {},
    released: () => void told.push('released'),
    interrupted: ({ reason }) => void told.push(`interrupted: ${reason}`),
    failed: ({ reason, attempt }) => void told.push(`failed: ${reason}, ${attempt}`),
    reconnected: ({ resumed }) => void told.push(resumed ? 'reconnected' : 'reconnected to a new seat'),
    moved: () => void told.push(`moved to ${sessions.current?.carrier}`),
    ended: ({ reason }) => void told.push(`ended: ${reason}`),
  }, attempt);
  const connected = sessions.connect(new URL('https://relay.test/r/lobby'));
  await pass(t, 30);
  await connected;
  assert.deepEqual([told.splice(0), sessions.carrierReason], [['connecting', 'seated', 'connected', 'began'], sessions.current?.carrier === 'websocket' ? 'udp_blocked' : null]);
  const tries = (/** @type {FakeCarrier} */ next) => (webtransport = next);
  return { sessions, told, tries, refuses: (/** @type {import('../../web/sdk/error.js').ErrorCode} */ code) => void (refusal = code), waitsFor: (/** @type {Promise<void>} */ next) => void (token = next) };
}

test('the session before goes on until the next one has proved itself, and nobody notices a break', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { sessions, told, tries } = await begin(t, websocket);
  const webtransport = tries(new FakeCarrier('webtransport', { afterMs: 1000 }));
  await pass(t, RETURN_MS);
  assert.deepEqual(webtransport.log, ['open']);
  websocket.say({ type: 'pong', token: 1, relayTimeUs: 0 });
  assert.deepEqual([told.splice(0), websocket.log], [['pong'], ['open', 'join']]);
  await pass(t, 1000);
  assert.deepEqual(told.splice(0), ['released', 'seated', 'began', 'moved to webtransport']);
  assert.deepEqual([webtransport.log, websocket.log], [['open', 'join'], ['open', 'join', 'close']]);
  assert.deepEqual([sessions.state, sessions.carrierReason], ['connected', null]);
  websocket.say({ type: 'pong', token: 2, relayTimeUs: 0 });
  webtransport.say({ type: 'pong', token: 3, relayTimeUs: 0 });
  assert.deepEqual(told, ['pong'], 'what comes late on the one before is not heard');
});

/** Until WebSocket is tried beside a session that hears nothing: as long as before the first try to come back. */
const ALARM_MS = 310;

test('where nothing comes over WebTransport, WebSocket takes over without a break, and UDP is tried again', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100 })];
  const { sessions, told, tries } = await begin(t, websocket, webtransport);
  sessions.unheard(true);
  await pass(t, ALARM_MS);
  assert.deepEqual([websocket.log, told], [['open'], []]);
  await pass(t, 110);
  assert.deepEqual(told.splice(0), ['released', 'seated', 'began', 'moved to websocket']);
  assert.deepEqual([websocket.log, webtransport.log], [['open', 'join'], ['open', 'join', 'close']]);
  assert.deepEqual([sessions.state, sessions.carrierReason], ['connected', 'udp_blocked']);
  tries(new FakeCarrier('webtransport', { afterMs: 10 }));
  await pass(t, RETURN_MS + 100);
  assert.deepEqual([told.at(-1), sessions.carrierReason], ['moved to webtransport', null]);
});

test('a network that is cut soon after the return is left as fast as before', async (t) => {
  const { sessions, told, tries } = await begin(t, new FakeCarrier('websocket', { afterMs: 10 }), new FakeCarrier('webtransport', { afterMs: 10 }));
  for (const returnMs of [RETURN_MS, RETURN_AGAIN_MS]) {
    sessions.unheard(true);
    await pass(t, ALARM_MS + 50);
    assert.equal(told.at(-1), 'moved to websocket');
    tries(new FakeCarrier('webtransport', { afterMs: 10 }));
    await pass(t, returnMs + 50);
    assert.equal(told.at(-1), 'moved to webtransport');
  }
});

test('a relay that was started again meanwhile is no move without a break', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100, hasRestarted: true })];
  const { sessions, told } = await begin(t, websocket, webtransport);
  sessions.unheard(true);
  await pass(t, ALARM_MS + 110);
  assert.deepEqual([told, sessions.state], [['released', 'seated', 'began', 'reconnected to a new seat'], 'connected']);
});

test('a session that is heard again before WebSocket stands goes on', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100 })];
  const { sessions, told } = await begin(t, websocket, webtransport);
  for (const ms of [ALARM_MS - 50, ALARM_MS + 50]) {
    sessions.unheard(true);
    await pass(t, ms);
    sessions.unheard(false);
    await pass(t, 1000);
  }
  assert.deepEqual([websocket.log, told, sessions.current?.carrier], [['open', 'aborted', 'close'], [], 'webtransport']);
});

test('once the seat is on its way there is no way back, even if the session before is heard', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100, isSlow: true })];
  const { sessions, told } = await begin(t, websocket, webtransport);
  sessions.unheard(true);
  await pass(t, ALARM_MS + 110);
  assert.deepEqual(websocket.log, ['open', 'join']);
  sessions.unheard(false);
  webtransport.say(replaced);
  await pass(t, 1000);
  assert.deepEqual([told.at(-1), websocket.log], ['moved to websocket', ['open', 'join']]);
});

for (const outcome of /** @type {const} */ (['comes', 'is refused'])) {
  test(`an attempt that was given up, whose token ${outcome} while the seat moves on another, breaks nothing`, async (t) => {
    const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100, isSlow: true })];
    const { sessions, told, waitsFor } = await begin(t, websocket, webtransport);
    let end = () => {};
    waitsFor(new Promise((resolve, reject) => {
      end = () => (outcome === 'comes' ? resolve() : reject(new TertuliaError('token_unavailable', 'No.')));
    }));
    sessions.unheard(true);
    await pass(t, ALARM_MS + 10);
    sessions.unheard(false);
    waitsFor(Promise.resolve());
    sessions.unheard(true);
    await pass(t, 1000);
    assert.deepEqual(websocket.log, ['open', 'join']);
    end();
    await pass(t, 10);
    webtransport.say(replaced);
    await pass(t, 1000);
    assert.deepEqual(told, ['closing', 'released', 'seated', 'began', 'moved to websocket']);
  });
}

test('where WebSocket does not stand either it is tried for again, until the session ends', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: null })];
  const { sessions, told } = await begin(t, websocket, webtransport);
  sessions.unheard(true);
  await pass(t, 2500);
  assert.deepEqual([websocket.log, told], [['open', 'open'], []]);
  sessions.lose({ reason: 'idle_timeout', message: '' });
  assert.deepEqual(told.splice(0), ['released', 'reconnecting', 'interrupted: idle_timeout']);
  await pass(t, 1000);
  assert.deepEqual(told, ['seated', 'connected', 'began', 'reconnected']);
});

test('whoever chose WebTransport stays on it', async (t) => {
  const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 10 })];
  const { sessions, told } = await begin(t, websocket, webtransport, 'webtransport');
  sessions.unheard(true);
  await pass(t, 2000);
  assert.deepEqual([websocket.log, told], [[], []]);
});

test('that the session before is replaced while the seat moves is no news', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { sessions, told, tries } = await begin(t, websocket);
  // No datagram comes back, so that the seat is on its way for a while, and returns to WebSocket.
  const webtransport = tries(new FakeCarrier('webtransport', { afterMs: 10, echo: false }));
  await pass(t, RETURN_MS);
  assert.deepEqual(webtransport.log, ['open', 'join']);
  websocket.say(replaced);
  websocket.break();
  await pass(t, 2000);
  assert.deepEqual(told.filter((what) => !['closing', 'released', 'seated', 'began'].includes(what)), ['moved to websocket']);
  assert.deepEqual([sessions.state, sessions.carrierReason, websocket.log], ['connected', 'udp_blocked', ['open', 'join', 'open', 'join by ticket', 'close']]);
});

test('what ends the stay while the seat moves ends it, whichever session is told', async (t) => {
  for (const isNext of [true, false]) {
    const [webtransport, websocket] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 100, isSlow: true })];
    const { sessions, told } = await begin(t, websocket, webtransport);
    sessions.unheard(true);
    await pass(t, ALARM_MS + 110);
    (isNext ? websocket : webtransport).say({ type: 'closing', reason: 'meeting_ended', message: '' });
    await pass(t, 2000);
    assert.deepEqual(told.filter((what) => what !== 'closing'), ['released', 'disconnected', 'ended: meeting_ended']);
    assert.deepEqual([websocket.log, webtransport.log], [isNext ? ['open', 'join', 'close'] : ['open', 'join', 'leave', 'close'], ['open', 'join', 'close']]);
    t.mock.reset();
  }
});

test('where UDP is still blocked the session stays, and is tried for again after twice the time', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { sessions, told, tries } = await begin(t, websocket);
  const blocked = tries(new FakeCarrier('webtransport', { afterMs: null }));
  await pass(t, RETURN_MS + 100);
  assert.deepEqual([blocked.log, told, websocket.log], [['open'], [], ['open', 'join']]);
  const free = tries(new FakeCarrier('webtransport', { afterMs: 10 }));
  await pass(t, RETURN_AGAIN_MS / 2);
  assert.deepEqual(free.log, []);
  await pass(t, RETURN_AGAIN_MS / 2 + 100);
  assert.deepEqual([sessions.current?.carrier, told.at(-1)], ['webtransport', 'moved to webtransport']);
});

test('after a minute over UDP a session that breaks, and comes back without, returns as soon as the first time', async (t) => {
  const { sessions, told, tries } = await begin(t, new FakeCarrier('websocket', { afterMs: 10 }));
  await pass(t, RETURN_MS + 50);
  tries(new FakeCarrier('webtransport', { afterMs: 10 }));
  await pass(t, RETURN_AGAIN_MS + 50);
  assert.equal(told.at(-1), 'moved to webtransport');
  const now = performance.now() + STEADY_MS + 1000;
  t.mock.method(performance, 'now', () => now);
  tries(new FakeCarrier('webtransport', { afterMs: null }));
  sessions.lose({ reason: 'idle_timeout', message: '' });
  await pass(t, 1000);
  assert.deepEqual([told.at(-1), sessions.carrierReason], ['reconnected', 'udp_blocked']);
  tries(new FakeCarrier('webtransport', { afterMs: 10 }));
  await pass(t, RETURN_MS + 50);
  assert.equal(told.at(-1), 'moved to webtransport');
});

test('a session that breaks while none has taken its seat is tried for as usual', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { sessions, told, tries } = await begin(t, websocket);
  const late = tries(new FakeCarrier('webtransport', { afterMs: 1000 }));
  await pass(t, RETURN_MS);
  websocket.break();
  assert.deepEqual(told.splice(0), ['released', 'reconnecting', 'interrupted: connection_lost']);
  tries(new FakeCarrier('webtransport', { afterMs: null }));
  await pass(t, 2000);
  assert.deepEqual(told, ['seated', 'connected', 'began', 'reconnected']);
  assert.deepEqual([sessions.current?.carrier, late.log], ['websocket', ['open', 'aborted', 'close']], 'the one that was late joins nothing');
  sessions.leave();
});

test('leaving while the seat moves gives up both sessions', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { sessions, told, tries } = await begin(t, websocket);
  const webtransport = tries(new FakeCarrier('webtransport', { afterMs: 10, echo: false }));
  await pass(t, RETURN_MS);
  sessions.leave();
  await pass(t, 3000);
  assert.deepEqual([told, sessions.current], [['released', 'disconnected', 'ended: left'], null]);
  assert.deepEqual([webtransport.log, websocket.log], [['open', 'join', 'leave', 'close'], ['open', 'join', 'leave', 'close']]);
});

test('each try to come back that fails says why, and one that is in vain for good ends it', async (t) => {
  const websocket = new FakeCarrier('websocket', { afterMs: 10 });
  const { told, refuses } = await begin(t, websocket);
  refuses('room_full');
  websocket.break();
  assert.deepEqual(told.splice(0), ['released', 'reconnecting', 'interrupted: connection_lost']);
  await pass(t, 1000);
  assert.deepEqual(told.splice(0), ['failed: room_full, 1', 'failed: room_full, 2']);
  refuses('room_locked');
  await pass(t, 3000);
  assert.deepEqual(told, ['released', 'disconnected', 'ended: room_locked']);
});
