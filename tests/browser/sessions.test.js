// A seat that comes back to WebTransport: the next session stands before the one before ends. Carriers and time are made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { returnDelayMs } from '../../web/sdk/reconnect.js';
import { Sessions } from '../../web/sdk/sessions.js';
import { decodeServerMessage } from '../../web/sdk/wire.js';
import { FakeCarrier, join, pass } from './carriers.js';

/** Until WebTransport is tried again: the first time, and the second. */
const [RETURN_MS, RETURN_AGAIN_MS] = [0, 1].map((attempt) => returnDelayMs(attempt, () => 1));
const replaced = /** @type {const} */ ({ type: 'closing', reason: 'replaced', message: '' });

/** Someone who is in over WebSocket because UDP is blocked. @param {import('node:test').TestContext} t @param {FakeCarrier} websocket */
async function begin(t, websocket) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.mock.method(Math, 'random', () => 1);
  const told = /** @type {string[]} */ ([]);
  let webtransport = new FakeCarrier('webtransport', { afterMs: null });
  const attempt = async (/** @type {unknown} */ _url, /** @type {unknown} */ _options, /** @type {unknown} */ _past, /** @type {AbortSignal} */ signal) =>
    ({ webtransport: webtransport.open, websocket: websocket.open, join, signal });
  /** @type {Sessions} */
  const sessions = new Sessions({ name: 'Ana' }, () => ({ ticket: null, chatAfter: { epoch: 1, sequence: 0 } }), {
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
    reconnected: () => void told.push('reconnected'),
    moved: () => void told.push(`moved to ${sessions.current?.carrier}`),
    ended: ({ reason }) => void told.push(`ended: ${reason}`),
  }, attempt);
  const connected = sessions.connect(new URL('https://relay.test/r/lobby'));
  await pass(t, 30);
  await connected;
  assert.deepEqual([told.splice(0), sessions.carrierReason], [['connecting', 'seated', 'connected', 'began'], 'udp_blocked']);
  return { sessions, told, tries: (/** @type {FakeCarrier} */ next) => { webtransport = next; return next; } };
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
