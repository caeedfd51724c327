/** A meeting, as one participant sees it. */
import { blockedNetworks } from './blocked.js';
import { parseCarrier, prefersWebSocket } from './carrier.js';
import { Chat } from './chat.js';
import { takeSeat } from './connection.js';
import { TertuliaError } from './error.js';
import { Emitter } from './events.js';
import { LocalParticipant, RemoteParticipant, remoteTrack } from './participants.js';
import { findRelay } from './relay.js';
import { VERSION, decodeServerChat, decodeServerMessage, encodeClientMessage, isFinal } from './wire.js';
import { openWebSocket } from './websocket.js';
import { openWebTransport } from './webtransport.js';

/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./carrier.js').Ending} Ending */
/** @typedef {import('./carrier.js').StreamName} StreamName */
/** @typedef {import('./chat.js').ChatMessage} ChatMessage */
/** @typedef {import('./participants.js').RemoteTrack} RemoteTrack */
/** @typedef {'idle' | 'connecting' | 'connected' | 'closed'} RoomState */
/** @typedef {{ code: string, message: string, final: boolean }} Closed `final`: connecting again in the same way does not help */

/**
 * @typedef {object} RoomOptions
 * @property {string} name what the others see
 * @property {string} [room] left out: the last part of the address, or `lobby`
 * @property {string} [token] for relays that ask for one
 * @property {'webtransport' | 'websocket' | string | null} [transport] use this carrier and no other
 */

/**
 * @typedef {object} RoomEvents
 * @property {RoomState} stateChanged
 * @property {RemoteParticipant} participantJoined
 * @property {RemoteParticipant} participantLeft
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackPublished
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackUnpublished
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackMuted
 * @property {ChatMessage} chatMessage
 * @property {{ participant: RemoteParticipant, active: boolean }} chatTyping
 * @property {{ firstKept: number }} caughtUp
 * @property {number} roundTrip milliseconds
 * @property {Closed} closed
 */

/** Time between two measurements of the round trip, in milliseconds. */
const PING_INTERVAL_MS = 2000;

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  #options;
  /** @type {RoomState} */
  #state = 'idle';
  /** @type {Session | null} */
  #session = null;
  /** @type {AbortController | null} */
  #connecting = null;
  /** @type {Map<number, { sentAtMs: number, resolve(ms: number): void, reject(error: TertuliaError): void }>} */
  #pings = new Map();
  #pingToken = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pingInterval;

  /** @param {RoomOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.localParticipant = new LocalParticipant(options.name);
    /** @type {Map<number, RemoteParticipant>} */
    this.remoteParticipants = new Map();
    /** The last measured round trip, smoothed. @type {number | null} */
    this.roundTripMs = null;
    this.chat = new Chat({
      send: (bytes) => this.#connected().send('chat', bytes),
      self: () => this.localParticipant,
      received: (message) => this.emit('chatMessage', message),
    });
  }

  /** @param {string | URL} url an address on the relay @param {RoomOptions} options */
  static async connect(url, options) {
    const room = new Room(options);
    await room.connect(url);
    return room;
  }

  get state() {
    return this.#state;
  }

  /** What the session runs over; `null` while there is none. */
  get carrier() {
    return this.#session?.carrier ?? null;
  }

  /** Takes a seat. A room that was closed can connect again and gets the chat it missed. @param {string | URL} url */
  async connect(url) {
    if (this.#state === 'connecting' || this.#state === 'connected') {
      throw new TertuliaError('already_connected', 'The room is connected already. Disconnect first, or make another Room.');
    }
    const aborter = (this.#connecting = new AbortController());
    this.#setState('connecting');
    try {
      this.#take(await takeSeat(await this.#attempt(new URL(url), aborter.signal)));
    } catch (error) {
      const known = error instanceof TertuliaError ? error : new TertuliaError('internal', 'Something went wrong in the page. Reload it.', { cause: error });
      this.#end({ reason: known.code, message: known.message });
      throw known;
    }
  }

  /** Leaves the room. */
  disconnect() {
    this.#connecting?.abort();
    if (!this.#session) return;
    this.#session.send('control', encodeClientMessage({ type: 'leave' }));
    this.#session.close();
    this.#end({ reason: 'left', message: 'You left the room.' });
  }

  /** Measures the round trip to the relay. @returns {Promise<number>} milliseconds */
  ping() {
    return new Promise((resolve, reject) => {
      const token = ++this.#pingToken;
      this.#connected().send('control', encodeClientMessage({ type: 'ping', token }));
      this.#pings.set(token, { sentAtMs: performance.now(), resolve, reject });
    });
  }

  /** @param {URL} url @param {AbortSignal} signal @returns {Promise<import('./connection.js').Attempt>} */
  async #attempt(url, signal) {
    const forced = parseCarrier(this.#options.transport);
    const relay = await findRelay(url);
    const { webTransport, certificateSha256, webSocket } = relay;
    if (forced === 'webtransport' && !webTransport) {
      throw new TertuliaError('transport_unavailable', 'This relay has no WebTransport. Leave the transport out, or use "websocket".');
    }
    const useWebTransport = forced ? forced === 'webtransport' : 'WebTransport' in globalThis && !prefersWebSocket(navigator.userAgent);
    return {
      webtransport: useWebTransport && webTransport ? (signal) => openWebTransport(webTransport, { certificateSha256, signal }) : null,
      websocket: forced === 'webtransport' ? null : (signal) => openWebSocket(webSocket, { signal }),
      join: this.#join(url),
      blocked: blockedNetworks(webTransport ?? webSocket),
      signal,
    };
  }

  /** @param {URL} url @returns {import('./wire/messages.js').Join} */
  #join(url) {
    const { room = url.pathname.split('/').filter(Boolean).at(-1) ?? 'lobby', name, token = null } = this.#options;
    return { type: 'join', version: VERSION, room, name, token, resume: null, chatAfter: this.chat.position, autoSubscribe: true };
  }

  /** @param {import('./connection.js').Seat} seat */
  #take({ session, welcome, heard }) {
    this.#connecting = null;
    this.#session = session;
    this.localParticipant.id = welcome.participant;
    this.remoteParticipants.clear();
    this.chat.joined(welcome.chat, welcome.chatBytesMax);
    this.#setState('connected');
    for (const { stream, message } of heard) this.#hear(stream, message);
    session.listen({
      message: (stream, message) => this.#hear(stream, message),
      media: () => {},
      closed: (ending) => this.#end(ending),
    });
    this.#measure();
    this.#pingInterval = setInterval(() => this.#measure(), PING_INTERVAL_MS);
  }

  /** @param {StreamName} stream @param {Uint8Array} message */
  #hear(stream, message) {
    try {
      if (stream === 'control') this.#control(decodeServerMessage(message));
      else this.#chatStream(decodeServerChat(message));
    } catch (error) {
      if (!(error instanceof TertuliaError)) throw error;
      this.#session?.close();
      this.#end({ reason: error.code, message: error.message });
    }
  }

  /** @param {import('./wire/messages.js').ServerMessage} message */
  #control(message) {
    switch (message.type) {
      case 'participantJoined': return this.#joined(new RemoteParticipant(message));
      case 'participantLeft': return this.#left(message.participant);
      case 'trackPublished': return this.#published(message);
      case 'trackUnpublished': return this.#unpublished(message.track);
      case 'trackMuted': return this.#muted(message);
      case 'pong': return this.#pong(message.token);
      case 'closing': return this.#end(message);
      // Answers to requests about tracks of one's own, which this version does not make.
      default: return;
    }
  }

  /** @param {import('./wire/messages.js').ServerChat} message */
  #chatStream(message) {
    switch (message.type) {
      case 'accepted': return this.chat.accepted(message);
      case 'refused': return this.chat.refused(message);
      case 'message': return this.chat.message(message);
      case 'caughtUp':
        this.chat.caughtUp(message);
        return this.emit('caughtUp', { firstKept: message.firstKept });
      case 'typing': {
        const participant = this.remoteParticipants.get(message.participant);
        if (participant) this.emit('chatTyping', { participant, active: message.active });
      }
    }
  }

  /** @param {RemoteParticipant} participant */
  #joined(participant) {
    this.remoteParticipants.set(participant.id, participant);
    this.emit('participantJoined', participant);
  }

  /** @param {number} id */
  #left(id) {
    const participant = this.remoteParticipants.get(id);
    this.remoteParticipants.delete(id);
    if (participant) this.emit('participantLeft', participant);
  }

  /** @param {Extract<import('./wire/messages.js').ServerMessage, { type: 'trackPublished' }>} message */
  #published(message) {
    const participant = this.remoteParticipants.get(message.participant);
    if (!participant) return;
    const track = remoteTrack(message.track);
    participant.tracks.set(track.id, track);
    this.emit('trackPublished', { participant, track });
  }

  /** @param {number} id */
  #unpublished(id) {
    for (const participant of this.remoteParticipants.values()) {
      const track = participant.tracks.get(id);
      participant.tracks.delete(id);
      if (track) this.emit('trackUnpublished', { participant, track });
    }
  }

  /** @param {{ track: number, muted: boolean }} message */
  #muted({ track: id, muted }) {
    for (const participant of this.remoteParticipants.values()) {
      const track = participant.tracks.get(id);
      if (!track) continue;
      track.muted = muted;
      this.emit('trackMuted', { participant, track });
    }
  }

  /** @param {number} token */
  #pong(token) {
    const ping = this.#pings.get(token);
    if (!ping) return;
    this.#pings.delete(token);
    const ms = performance.now() - ping.sentAtMs;
    this.roundTripMs = this.roundTripMs === null ? ms : this.roundTripMs * 0.75 + ms * 0.25;
    this.emit('roundTrip', this.roundTripMs);
    ping.resolve(ms);
  }

  #measure() {
    this.ping().catch(() => {});
  }

  #connected() {
    if (!this.#session) throw new TertuliaError('not_connected', 'The room is not connected. Join again, then repeat it.');
    return this.#session;
  }

  /** @param {Ending} ending */
  #end({ reason, message }) {
    if (this.#state === 'closed') return;
    clearInterval(this.#pingInterval);
    this.#connecting = null;
    this.#session = null;
    this.roundTripMs = null;
    for (const { reject } of this.#pings.values()) reject(new TertuliaError('not_connected', message));
    this.#pings.clear();
    this.chat.closed();
    this.#setState('closed');
    this.emit('closed', { code: reason, message, final: isFinal(reason) });
  }

  /** @param {RoomState} state */
  #setState(state) {
    this.#state = state;
    this.emit('stateChanged', state);
  }
}
