// The race between carriers, with carriers and time made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prefersWebSocket } from '../../web/sdk/carrier.js';
import { ECHO_TIMEOUT_MS, HEAD_START_MS, moveToWebTransport, takeSeat } from '../../web/sdk/connection.js';
import { REACH_TIMEOUT_MS, deadline } from '../../web/sdk/deadline.js';
import { TertuliaError } from '../../web/sdk/error.js';
import { ASK_AGAIN_TIMEOUT_MS, findRelay } from '../../web/sdk/relay.js';
import { FakeCarrier, join, pass } from './carriers.js';

/** @param {import('node:test').TestContext} t @param {FakeCarrier | null} webtransport @param {FakeCarrier | null} websocket @param {boolean} [isBlocked] @param {AbortSignal} [signal] */
function start(t, webtransport, websocket, isBlocked = false, signal) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const outcome = { carrier: '', code: '', remembered: 0 };
  takeSeat({
    webtransport: webtransport?.open ?? null, websocket: websocket?.open ?? null, join, signal,
    blocked: { isBlocked: () => isBlocked, remember: () => void outcome.remembered++, forget() {} },
  }).then(({ session }) => (outcome.carrier = session.carrier), (error) => (outcome.code = error.code ?? error.message));
  return outcome;
}

test('WebTransport within its head start is alone', async (t) => {
  const [fast, other] = [new FakeCarrier('webtransport', { afterMs: 100 }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = start(t, fast, other);
  await pass(t, HEAD_START_MS * 3);
  assert.deepEqual(outcome, { carrier: 'webtransport', code: '', remembered: 0 });
  assert.deepEqual([fast.log, other.log], [['open', 'join'], []]);
});

test('WebSocket starts after the head start, and the slower one is closed without joining', async (t) => {
  const [slow, other] = [new FakeCarrier('webtransport', { afterMs: 2000 }), new FakeCarrier('websocket', { afterMs: 50 })];
  const outcome = start(t, slow, other);
  await pass(t, HEAD_START_MS - 10);
  assert.deepEqual(other.log, []);
  await pass(t, 2000);
  assert.deepEqual(outcome, { carrier: 'websocket', code: '', remembered: 1 });
  assert.deepEqual([slow.log, other.log], [['open', 'aborted', 'close'], ['open', 'join']]);
});

test('WebSocket starts at once when WebTransport is refused', async (t) => {
  const [refused, other] = [new FakeCarrier('webtransport', { afterMs: null }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = start(t, refused, other);
  await pass(t, 30);
  assert.deepEqual(outcome, { carrier: 'websocket', code: '', remembered: 1 });
});

test('where no carrier stands, it is said why the relay keeps the page away', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const refusal = new TertuliaError('origin_refused', 'Ask for --origin.');
  const without = (/** @type {AbortSignal | undefined} */ signal) =>
    takeSeat({ webtransport: new FakeCarrier('webtransport', { afterMs: null }).open, websocket: new FakeCarrier('websocket', { afterMs: null }).open, join, refusal, signal });
  await assert.rejects(without(undefined), { code: 'origin_refused' });
  await assert.rejects(without(AbortSignal.abort(new TertuliaError('left', 'You left.'))), { code: 'left' });
});

test('WebSocket starts at once when WebTransport is absent, or known to be blocked', async (t) => {
  const absent = start(t, null, new FakeCarrier('websocket', { afterMs: 10 }));
  await pass(t, 30);
  assert.deepEqual(absent, { carrier: 'websocket', code: '', remembered: 0 });
  t.mock.timers.reset();
  const untried = new FakeCarrier('webtransport', { afterMs: 10 });
  const blocked = start(t, untried, new FakeCarrier('websocket', { afterMs: 10 }), true);
  await pass(t, 30);
  assert.deepEqual([blocked.carrier, blocked.remembered, untried.log], ['websocket', 0, []]);
});

test('a WebTransport session without datagrams gives its seat to one over WebSocket', async (t) => {
  const [mute, other] = [new FakeCarrier('webtransport', { afterMs: 10, echo: false }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = start(t, mute, other);
  await pass(t, ECHO_TIMEOUT_MS - 10);
  assert.equal(outcome.carrier, '');
  await pass(t, 100);
  assert.deepEqual(outcome, { carrier: 'websocket', code: '', remembered: 1 });
  assert.deepEqual([mute.log, other.log], [['open', 'join', 'close'], ['open', 'join by ticket']]);
});

test('a WebTransport session that ends before a datagram came back says nothing about the network', async (t) => {
  const [ended, other] = [new FakeCarrier('webtransport', { afterMs: 10, echo: false, endsAfterMs: 50 }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = start(t, ended, other);
  await pass(t, 200);
  assert.deepEqual(outcome, { carrier: 'websocket', code: '', remembered: 0 });
});

for (const [among, websocket] of /** @type {[string, FakeCarrier | null][]} */ ([['both carriers', new FakeCarrier('websocket', { afterMs: 10 })], ['WebTransport alone', null]])) {
  test(`leaving before a datagram came back gives the seat up, of ${among}`, async (t) => {
    const mute = new FakeCarrier('webtransport', { afterMs: 10, echo: false });
    const leaving = new AbortController();
    const outcome = start(t, mute, websocket, false, leaving.signal);
    await pass(t, 100);
    leaving.abort(new Error('left'));
    await pass(t, ECHO_TIMEOUT_MS + 100);
    assert.deepEqual(outcome, { carrier: '', code: 'left', remembered: 0 });
    assert.deepEqual(mute.log, ['open', 'join', 'leave', 'close']);
  });
}

test('a forced WebTransport fails when datagrams do not pass, and nothing is left when both fail', async (t) => {
  const forced = start(t, new FakeCarrier('webtransport', { afterMs: 10, echo: false }), null);
  await pass(t, ECHO_TIMEOUT_MS + 100);
  assert.equal(forced.code, 'transport_failed');
  t.mock.timers.reset();
  const both = start(t, new FakeCarrier('webtransport', { afterMs: null }), new FakeCarrier('websocket', { afterMs: null }));
  await pass(t, HEAD_START_MS * 2);
  assert.deepEqual(both, { carrier: '', code: 'blocked', remembered: 0 });
});

/** @param {import('node:test').TestContext} t @param {FakeCarrier} webtransport @param {FakeCarrier} websocket */
function startMove(t, webtransport, websocket) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const outcome = { carrier: '', reason: '', committed: false, blocked: 'yes' };
  const blocked = { isBlocked: () => true, remember: () => void (outcome.blocked = 'still'), forget: () => void (outcome.blocked = 'no') };
  moveToWebTransport({ webtransport: webtransport.open, websocket: websocket.open, join, blocked }, () => { outcome.committed = true; })
    .then(({ session, carrierReason }) => Object.assign(outcome, { carrier: session.carrier, reason: carrierReason }), ({ message }) => (outcome.reason = message));
  return outcome;
}

test('a seat comes back to WebTransport, and the network is no longer taken to be blocked', async (t) => {
  const [open, other] = [new FakeCarrier('webtransport', { afterMs: 10 }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = startMove(t, open, other);
  await pass(t, 30);
  assert.deepEqual(outcome, { carrier: 'webtransport', reason: null, committed: true, blocked: 'no' });
  assert.deepEqual([open.log, other.log], [['open', 'join'], []]);
});

test('a seat stays where it is while WebTransport does not get through', async (t) => {
  const [closed, other] = [new FakeCarrier('webtransport', { afterMs: null }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = startMove(t, closed, other);
  await pass(t, 30);
  assert.deepEqual(outcome, { carrier: '', reason: 'blocked', committed: false, blocked: 'yes' });
  assert.deepEqual(other.log, []);
});

test('a seat that moved to a WebTransport without datagrams goes on over WebSocket', async (t) => {
  const [mute, other] = [new FakeCarrier('webtransport', { afterMs: 10, echo: false }), new FakeCarrier('websocket', { afterMs: 10 })];
  const outcome = startMove(t, mute, other);
  await pass(t, ECHO_TIMEOUT_MS + 100);
  assert.deepEqual(outcome, { carrier: 'websocket', reason: 'udp_blocked', committed: true, blocked: 'still' });
});

test('carriers that hang are given up in time', async (t) => {
  const [one, other] = [new FakeCarrier('webtransport', { afterMs: Infinity }), new FakeCarrier('websocket', { afterMs: Infinity })];
  const outcome = start(t, one, other);
  await pass(t, REACH_TIMEOUT_MS - 10);
  assert.equal(outcome.code, '');
  await pass(t, 10);
  assert.deepEqual(outcome, { carrier: '', code: 'relay_unreachable', remembered: 0 });
  assert.deepEqual([one.log, other.log], [['open', 'aborted'], ['open', 'aborted']]);
});

test('a network that is back ends what hangs', async (t) => {
  const network = new EventTarget();
  const { addEventListener, removeEventListener } = globalThis;
  Object.assign(globalThis, { addEventListener: network.addEventListener.bind(network), removeEventListener: network.removeEventListener.bind(network) });
  t.after(() => Object.assign(globalThis, { addEventListener, removeEventListener }));
  const outcome = start(t, null, new FakeCarrier('websocket', { afterMs: Infinity }));
  await pass(t, 10);
  network.dispatchEvent(new Event('online'));
  await pass(t, 0);
  assert.equal(outcome.code, 'network_back');
});

test('a relay that does not answer is taken to be where it was, and a new one is given up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const fetched = t.mock.method(globalThis, 'fetch', () => Promise.resolve(Response.json({ webtransport: 4433 })));
  const { signal } = new AbortController();
  const page = new URL('http://relay.test/r/lobby');
  const before = await findRelay(page, signal);
  assert.equal(before.webTransport, 'https://relay.test:4433/');

  fetched.mock.mockImplementation((/** @type {unknown} */ _, /** @type {RequestInit | undefined} */ options) => new Promise((_, reject) => {
    options?.signal?.addEventListener('abort', () => reject(options.signal?.reason));
  }));
  const again = findRelay(page, signal);
  t.mock.timers.tick(ASK_AGAIN_TIMEOUT_MS);
  assert.deepEqual(await again, before);
  const unknown = findRelay(new URL('http://other.test/'), deadline(signal));
  t.mock.timers.tick(REACH_TIMEOUT_MS);
  await assert.rejects(unknown, { code: 'relay_unreachable' });

  fetched.mock.mockImplementation(() => Promise.reject(new TypeError('refused')));
  await assert.rejects(findRelay(page, signal), { code: 'relay_unreachable' });
});

test('a relay that keeps pages of this site away is not said to be out of reach', async (t) => {
  const asked = /** @type {string[]} */ ([]);
  t.mock.method(globalThis, 'fetch', (/** @type {URL} */ { pathname, search }) => {
    asked.push(pathname + search);
    return Promise.resolve(Response.json({ webtransport: 4433, originAllowed: false }));
  });
  const { signal } = new AbortController();
  const find = () => findRelay(new URL('http://refusing.test/'), signal);
  t.after(() => Reflect.deleteProperty(globalThis, 'origin'));
  for (const [origin, words] of /** @type {const} */ ([['https://app.example', /option --origin https:\/\/app\.example\.$/], ['null', /not from a file/]])) {
    Object.assign(globalThis, { origin });
    await assert.rejects(find(), { code: 'origin_refused', message: words });
  }
  // Its own page, when a proxy in between asks by another name: WebTransport goes past it.
  Object.assign(globalThis, { origin: 'http://refusing.test' });
  const { webTransport, refusal } = await find();
  assert.deepEqual([webTransport, refusal?.code], ['https://refusing.test:4433/', 'origin_refused']);
  assert.deepEqual(asked, ['/relay.json', '/relay.json', '/relay.json?origin=http%3A%2F%2Frefusing.test']);
});

test('WebKit and old Firefox begin with WebSocket', () => {
  const webkit = 'Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)';
  assert.equal(prefersWebSocket(`${webkit} Version/26.0 Mobile/15E148 Safari/604.1`), true);
  assert.equal(prefersWebSocket(`${webkit} CriOS/156.0 Mobile/15E148 Safari/604.1`), true);
  assert.equal(prefersWebSocket('Mozilla/5.0 (X11; Linux x86_64; rv:152.0) Gecko/20100101 Firefox/152.0'), true);
  assert.equal(prefersWebSocket('Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0'), false);
  assert.equal(prefersWebSocket('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'), false);
});
