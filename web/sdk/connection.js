/**
 * From addresses to a seat: WebTransport with a head start, WebSocket where it does not get through.
 *
 * The first carrier that stands is joined on, the other is closed before it says a word, so nobody joins twice. A carrier's
 * handshake proves little about datagrams: over WebTransport the seat counts once a datagram came back. Where none does, the
 * seat moves to WebSocket, and the others notice nothing.
 */
import { deadline } from './deadline.js';
import { EarlyMedia } from './early-media.js';
import { TertuliaError } from './error.js';
import { sentence } from './sentences.js';
import { TRACK_ECHO, decodeMedia, decodeServerMessage, encodeClientMessage, encodeDatagram } from './wire.js';

/** @typedef {import('./carrier.js').Carrier} Carrier */
/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./carrier.js').StreamName} StreamName */
/** @typedef {import('./wire/messages.js').Join} Join */
/** @typedef {import('./wire/messages.js').Welcome} Welcome */
/** @typedef {(signal: AbortSignal) => Promise<Session>} Open */
/** @typedef {{ stream: StreamName, message: Uint8Array }} Heard */
/** @typedef {'udp_blocked' | 'no_webtransport' | 'chosen' | 'browser' | null} CarrierReason why a session does not run over WebTransport; `null` if it does */

/**
 * @typedef {object} Seat
 * @property {Session} session
 * @property {Welcome} welcome
 * @property {Heard[]} heard what came behind the welcome, and waits
 * @property {EarlyMedia} media what came so far
 * @property {CarrierReason} carrierReason
 */

/**
 * @typedef {object} Attempt
 * @property {Open | null} webtransport `null`: not to be tried
 * @property {Open | null} websocket
 * @property {CarrierReason} [withoutWebTransport] why it is not to be tried
 * @property {Join} join
 * @property {BlockedNetworks} [blocked]
 * @property {AbortSignal} [signal] whoever joins leaves
 * @property {TertuliaError | null} [refusal] what to say if no carrier stands
 * @property {AbortSignal} [reach] ends what has no carrier yet; left out: `signal` and the usual time
 */
/** @typedef {{ isBlocked(): boolean, remember(): void, forget(): void }} BlockedNetworks */

/** WebTransport's head start, in milliseconds. */
export const HEAD_START_MS = 500;
/** A datagram has to come back within this time, in milliseconds. */
export const ECHO_TIMEOUT_MS = 1000;
/** Time between two tries to get a datagram back, in milliseconds. */
export const ECHO_INTERVAL_MS = 100;
/** The first message of the relay has to come within this time, in milliseconds. */
export const WELCOME_TIMEOUT_MS = 5000;

/** @param {Attempt} attempt @returns {Promise<Seat>} */
export async function takeSeat(attempt) {
  const { webtransport, websocket, join, blocked, signal, refusal, reach = deadline(signal) } = attempt;
  const both = webtransport !== null && websocket !== null;
  const skip = both && blocked?.isBlocked();
  const session = await race(skip ? null : webtransport, websocket, reach).catch((error) => { throw signal?.aborted ? error : refusal ?? error; });
  const seat = await joinOn(session, join, signal);
  if (session.carrier === 'webtransport') return proven(seat, attempt);
  if (both && !skip) blocked?.remember();
  return { ...seat, carrierReason: webtransport ? 'udp_blocked' : attempt.withoutWebTransport ?? 'no_webtransport' };
}

/**
 * Brings a seat that is on WebSocket back to WebTransport. The session before keeps it until the carrier stands.
 * @param {Attempt} attempt
 * @param {() => void} committed the seat moves: the session before will be told that it is replaced
 * @returns {Promise<Seat>}
 */
export async function moveToWebTransport(attempt, committed) {
  const { webtransport, join, blocked, signal, reach = deadline(signal) } = attempt;
  if (!webtransport) throw new TertuliaError('transport_unavailable', 'There is no WebTransport here.');
  const session = await race(webtransport, null, reach);
  committed();
  const seat = await proven(await joinOn(session, join, signal), attempt);
  if (seat.session === session) blocked?.forget();
  return seat;
}

/**
 * Brings a seat to WebSocket whose session over WebTransport hears nothing any more. That one keeps it until WebSocket stands.
 * @param {Attempt} attempt
 * @param {() => void} committed the seat moves: the session before will be told that it is replaced
 * @returns {Promise<Seat>}
 */
export async function moveToWebSocket({ websocket, join, signal, reach = deadline(signal) }, committed) {
  if (!websocket) throw new TertuliaError('transport_unavailable', 'There is no WebSocket here.');
  const session = await race(null, websocket, reach);
  committed();
  return { ...await joinOn(session, join, signal), carrierReason: 'udp_blocked' };
}

/**
 * The seat, once a datagram came back; on WebSocket where none does.
 * @param {Seat} seat
 * @param {Attempt} attempt
 * @returns {Promise<Seat>}
 */
async function proven(seat, { websocket, join, blocked, signal }) {
  const echoed = await probeDatagrams(seat.session, seat, signal);
  if (echoed === 'passed') return seat;
  if (!websocket) {
    leave(seat.session);
    throw new TertuliaError('transport_failed', 'Datagrams do not get through over WebTransport. Use WebSocket on this network.');
  }
  // A session that ended, as when a relay starts again, says nothing about the network.
  if (echoed === 'nothing') blocked?.remember();
  return move(seat, websocket, join, signal);
}

/**
 * Brings a seat to WebSocket. What was heard before is told again there.
 * @param {Seat} seat
 * @param {Open} websocket
 * @param {Join} join
 * @param {AbortSignal} [signal]
 * @returns {Promise<Seat>}
 */
async function move({ session, welcome }, websocket, join, signal) {
  try {
    const moved = await joinOn(await race(null, websocket, deadline(signal)), { ...join, ticket: welcome.ticket }, signal);
    // Whether it is resumed is for whoever had a seat before, not for a move within one attempt.
    return { ...moved, welcome: { ...moved.welcome, resumed: welcome.resumed }, carrierReason: 'udp_blocked' };
  } finally {
    if (signal?.aborted) leave(session);
    else session.close();
  }
}

/**
 * The first session that stands; the others are closed.
 * @param {Open | null} webtransport
 * @param {Open | null} websocket
 * @param {AbortSignal} signal its reason is what is thrown
 * @returns {Promise<Session>}
 */
export function race(webtransport, websocket, signal) {
  return new Promise((resolve, reject) => {
    const aborters = /** @type {AbortController[]} */ ([]);
    let running = 0;
    let waiting = webtransport !== null && websocket !== null;
    let over = false;
    const finish = () => {
      over = true;
      clearTimeout(headStart);
      signal.removeEventListener('abort', cancel);
    };
    const cancel = () => {
      finish();
      for (const aborter of aborters) aborter.abort();
      reject(signal.reason);
    };
    /** @param {Open} open */
    const start = (open) => {
      const aborter = new AbortController();
      aborters.push(aborter);
      running++;
      open(aborter.signal).then(
        (session) => {
          if (over) return session.close();
          finish();
          for (const other of aborters) if (other !== aborter) other.abort();
          resolve(session);
        },
        (error) => {
          running--;
          if (over) return;
          if (waiting) return startWebSocket();
          if (running > 0) return;
          finish();
          reject(error);
        },
      );
    };
    const startWebSocket = () => {
      waiting = false;
      clearTimeout(headStart);
      if (websocket) start(websocket);
    };
    const headStart = setTimeout(() => { if (waiting) startWebSocket(); }, HEAD_START_MS);
    if (signal.aborted) return cancel();
    signal.addEventListener('abort', cancel);
    if (webtransport) start(webtransport);
    else startWebSocket();
  });
}

/** Why an attempt ends whose `signal` says so. */
export function cancelled() {
  return new TertuliaError('left', 'You left before the connection stood. Join again when you like.');
}

/** @param {Session} session @param {Join} join @param {AbortSignal} [signal] @returns {Promise<Seat>} */
function joinOn(session, join, signal) {
  return new Promise((resolve, reject) => {
    const heard = /** @type {Heard[]} */ ([]);
    const early = new EarlyMedia();
    let answered = false;
    /** @param {import('./error.js').ErrorCode} code @param {string} message */
    const refuse = (code, message) => {
      if (answered) return;
      settle();
      session.close();
      reject(new TertuliaError(code, message));
    };
    const cancel = () => {
      if (answered) return;
      settle();
      leave(session);
      reject(cancelled());
    };
    const settle = () => {
      answered = true;
      clearTimeout(timeout);
      signal?.removeEventListener('abort', cancel);
    };
    const timeout = setTimeout(() => refuse('join_timeout', 'The relay did not answer. Join again.'), WELCOME_TIMEOUT_MS);
    session.listen({
      message(stream, message) {
        if (answered || stream === 'chat') return void heard.push({ stream, message });
        const first = decodeOrNull(message);
        if (first?.type === 'closing') return refuse(first.reason, sentence(first.reason, first.message));
        if (first?.type !== 'welcome') return refuse('malformed', 'The relay said something unexpected. Reload the page.');
        settle();
        resolve({ session, welcome: first, heard, media: early, carrierReason: null });
      },
      media: (media) => early.keep(media),
      closed: ({ reason, message }) => refuse(reason, sentence(reason, message)),
    });
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted) return cancel();
    session.send('control', encodeClientMessage(join));
  });
}

/** @param {Uint8Array} message */
function decodeOrNull(message) {
  try {
    return decodeServerMessage(message);
  } catch {
    return null;
  }
}

/**
 * Whether a datagram comes back in time.
 * @param {Session} session
 * @param {Seat} seat
 * @param {AbortSignal} [signal]
 * @returns {Promise<'passed' | 'nothing' | 'closed'>}
 */
function probeDatagrams(session, seat, signal) {
  return new Promise((resolve, reject) => {
    let frame = 0;
    const settle = () => {
      clearInterval(interval);
      clearTimeout(timeout);
      signal?.removeEventListener('abort', cancel);
    };
    const finish = (/** @type {'passed' | 'nothing' | 'closed'} */ outcome) => {
      settle();
      resolve(outcome);
    };
    const cancel = () => {
      settle();
      // First: a session that is left is one that ended, too.
      reject(cancelled());
      leave(session);
    };
    const probe = () => session.sendDatagram(echo(frame++));
    const interval = setInterval(probe, ECHO_INTERVAL_MS);
    const timeout = setTimeout(() => finish('nothing'), ECHO_TIMEOUT_MS);
    session.listen({
      message: (stream, message) => void seat.heard.push({ stream, message }),
      media: (media) => {
        if (isEcho(media)) finish('passed');
        else seat.media.keep(media);
      },
      closed: () => finish('closed'),
    });
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted) return cancel();
    probe();
  });
}

/** @param {number} frame */
function echo(frame) {
  return encodeDatagram({
    track: TRACK_ECHO, frame, dependsOnDistance: 0, keyframe: false, parity: false, onStream: false, temporalLayer: 0, spatialLayer: 0,
    audioLevel: 127, fragmentIndex: 0, fragmentCount: 1, timestamp: 0, payload: Uint8Array.of(0),
  });
}

/** @param {Uint8Array} media */
function isEcho(media) {
  try {
    return decodeMedia(media).track === TRACK_ECHO;
  } catch {
    return false;
  }
}

/** Gives the seat up. @param {Session} session */
export function leave(session) {
  session.send('control', encodeClientMessage({ type: 'leave' }));
  session.close();
}
