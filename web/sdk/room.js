/** A meeting, as one participant sees it. It outlives its sessions: when one breaks, another takes the same seat. */
import { approach } from './approach.js';
import { Chat } from './chat.js';
import { cancelled, leave, takeSeat } from './connection.js';
import { isNetworkBack } from './deadline.js';
import { TertuliaError } from './error.js';
import { Emitter } from './events.js';
import { Heartbeat } from './heartbeat.js';
import { bytesOf, hexOf } from './hex.js';
import { LocalParticipant } from './participants.js';
import { STABLE_MS, pause, reconnectDelayMs } from './reconnect.js';
import { Requests } from './requests.js';
import { Roster } from './roster.js';
import { sentence } from './sentences.js';
import { decodeServerChat, decodeServerMessage, encodeClientMessage, isFinal } from './wire.js';

/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./carrier.js').StreamName} StreamName */
/** @typedef {import('./connection.js').Seat} Seat */
/** @typedef {import('./transcript.js').ChatMessage} ChatMessage */
/** @typedef {import('./participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./wire/messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./wire/messages.js').Welcome} Welcome */
/** @typedef {Welcome['permissions']} Permissions what one's token allows */
/** @typedef {'disconnected' | 'connecting' | 'connected' | 'reconnecting'} RoomState */
/** @typedef {{ reason: string, message: string }} Ending the reason for programs, and what to do for people */

/**
 * @typedef {object} RoomOptions
 * @property {string} name what the others see, unless the token has a name
 * @property {string} [room] left out: the last part of the address, or `lobby`
 * @property {string | (() => string | null | Promise<string | null>) | null} [token] for relays that ask for one. A function is called for each
 *   connection, so that a fresh token brings one back to a meeting that lasts longer than the first
 * @property {string | null} [ticket] `room.ticket` of a page before, to come back to its seat
 * @property {'webtransport' | 'websocket' | string | null} [transport] use this carrier and no other
 */

/**
 * @typedef {object} ConnectionEvents
 * @property {RoomState} stateChanged
 * @property {Ending} reconnecting the session broke; another is being tried for
 * @property {{ resumed: boolean }} reconnected `resumed`: to the same seat, and the others saw nothing
 * @property {Ending} disconnected nothing more happens until `connect`
 * @property {{ locked: boolean }} roomLocked
 * @property {ChatMessage} chatMessage
 * @property {{ participant: RemoteParticipant, active: boolean }} chatTyping
 * @property {{ firstKept: number }} caughtUp all that was missed is here
 * @property {number} roundTrip milliseconds
 */
/** @typedef {ConnectionEvents & import('./roster.js').RosterEvents} RoomEvents */

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  #options;
  /** @type {RoomState} */
  #state = 'disconnected';
  /** @type {Session | null} */
  #session = null;
  /** Ends what tries to connect. */
  #leaving = new AbortController();
  /** @type {Heartbeat | null} */
  #heartbeat = null;
  #requests = new Requests();
  #roster = new Roster();
  /** @type {Uint8Array | null} */
  #ticket;
  /** Tries that failed since the last good session. */
  #attempts = 0;
  #seatedAtMs = 0;
  /** Until when the seats of the last session are kept. */
  #seatsUntilMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;

  /** @param {RoomOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#ticket = options.ticket ? bytesOf(options.ticket) : null;
    this.localParticipant = new LocalParticipant(options.name);
    /** What one may do; `null` before the first welcome. @type {Permissions | null} */
    this.permissions = null;
    /** Whether newcomers are kept out. */
    this.locked = false;
    /** How long the relay keeps the seat when the connection breaks, in milliseconds. */
    this.seatMs = 0;
    this.chat = new Chat({
      isOpen: () => this.#state !== 'disconnected',
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

  /** The last measured round trip in milliseconds, smoothed; `null` while there is none. */
  get roundTripMs() {
    return this.#heartbeat?.roundTripMs ?? null;
  }

  /** By their ids. @returns {ReadonlyMap<number, RemoteParticipant>} */
  get remoteParticipants() {
    return this.#roster.participants;
  }

  /** What brings a later Room back to this seat. Whoever has it can take the seat. @returns {string | null} */
  get ticket() {
    return this.#ticket ? hexOf(this.#ticket) : null;
  }

  /**
   * Takes a seat, and keeps it until `disconnect` or a reason that connecting again cannot mend. A room that was disconnected
   * can connect again and gets the chat it missed.
   * @param {string | URL} url
   */
  async connect(url) {
    if (this.#state !== 'disconnected') {
      throw new TertuliaError('already_connected', 'The room is connected already. Disconnect first, or make another Room.');
    }
    const address = new URL(url);
    const { signal } = (this.#leaving = new AbortController());
    this.#attempts = 0;
    this.#seatsUntilMs = 0;
    this.#setState('connecting');
    try {
      const seat = await this.#seat(address, signal);
      if (signal.aborted) {
        leave(seat.session);
        throw cancelled();
      }
      this.#take(seat, address);
    } catch (error) {
      const known = asTertuliaError(error);
      if (!signal.aborted) this.#end({ reason: known.code, message: known.message });
      throw known;
    }
  }

  /** Leaves the room. */
  disconnect() {
    if (this.#state === 'disconnected') return;
    this.#leaving.abort(cancelled());
    this.#session?.send('control', encodeClientMessage({ type: 'leave' }));
    this.#end({ reason: 'left', message: 'You left the room.' });
  }

  /** Sends a participant away and keeps its identity out for a while. For admins. @param {number} participant its id */
  async removeParticipant(participant) {
    await this.#ask({ type: 'removeParticipant', participant });
  }

  /** Silences a track of someone else, until they turn it on again. For admins. @param {number} track its id */
  async muteTrack(track) {
    await this.#ask({ type: 'muteTrack', track });
  }

  /** Keeps newcomers out, or lets them in again. For admins. @param {boolean} locked */
  async setLocked(locked) {
    await this.#ask({ type: 'setLocked', locked });
  }

  /** Sends everyone away. For admins. */
  async endMeeting() {
    await this.#ask({ type: 'endMeeting' });
  }

  /** @param {import('./requests.js').Request} request */
  #ask(request) {
    return this.#requests.ask(request, (message) => this.#connected().send('control', encodeClientMessage(message)));
  }

  /** @param {URL} url @param {AbortSignal} signal @returns {Promise<Seat>} */
  async #seat(url, signal) {
    const past = { ticket: this.#ticket, chatAfter: this.chat.position };
    try {
      return await takeSeat(await approach(url, this.#options, past, signal));
    } catch (error) {
      if (isNetworkBack(error) && !signal.aborted) return this.#seat(url, signal);
      throw error;
    }
  }

  /** @param {Seat} seat @param {URL} url */
  #take({ session, welcome, heard }, url) {
    this.#session = session;
    this.#seatedAtMs = performance.now();
    this.#ticket = welcome.ticket;
    this.seatMs = welcome.seatMs;
    this.permissions = welcome.permissions;
    this.localParticipant.id = welcome.participant;
    this.localParticipant.name = welcome.name;
    this.chat.joined(welcome.chat, welcome.chatBytesMax);
    this.#heartbeat = new Heartbeat({
      ping: (token) => session.send('control', encodeClientMessage({ type: 'ping', token })),
      measured: () => this.emit('roundTrip', this.roundTripMs ?? 0),
      silent: () => this.#lose(session, url, { reason: 'idle_timeout', message: 'The relay does not answer.' }),
    });
    this.#setState('connected');
    this.#setLocked(welcome.locked);
    this.#beginRoster(welcome);
    const hear = (/** @type {StreamName} */ stream, /** @type {Uint8Array} */ message) => {
      if (session === this.#session) this.#hear(stream, message, (ending) => this.#lose(session, url, ending));
    };
    for (const { stream, message } of heard) hear(stream, message);
    session.listen({ message: hear, media: () => {}, closed: (ending) => this.#lose(session, url, ending) });
  }

  /** @param {Welcome} welcome */
  #beginRoster({ participants, resumed }) {
    // A seat that is gone before its time: the relay was started again, and the others are on their way back too.
    const restMs = resumed ? 0 : this.#seatsUntilMs - performance.now();
    this.#emitAll(this.#roster.begin(participants, { isPatient: restMs > 0 }));
    if (restMs > 0) this.#patience = setTimeout(() => this.#emitAll(this.#roster.giveUp()), restMs);
  }

  /** @param {StreamName} stream @param {Uint8Array} message @param {(ending: Ending) => void} lose */
  #hear(stream, message, lose) {
    try {
      if (stream === 'chat') return this.#chatStream(decodeServerChat(message));
      const said = decodeServerMessage(message);
      if (said.type === 'closing') lose(said);
      else this.#control(said);
    } catch (error) {
      if (!(error instanceof TertuliaError)) throw error;
      lose({ reason: error.code, message: error.message });
    }
  }

  /** @param {ServerMessage} message */
  #control(message) {
    switch (message.type) {
      case 'pong': return this.#heartbeat?.pong(message.token);
      case 'done': case 'published': case 'failed': return this.#requests.answered(message);
      case 'roomLocked': return this.#setLocked(message.locked);
      default: return this.#emitAll(this.#roster.handle(message));
    }
  }

  /** @param {import('./wire/messages.js').ServerChat} message */
  #chatStream(message) {
    switch (message.type) {
      case 'accepted': return this.chat.accepted(message);
      case 'notKept': return this.chat.notKept(message);
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

  #connected() {
    if (!this.#session) throw new TertuliaError('not_connected', 'The room is not connected at the moment. Do it again when it is.');
    return this.#session;
  }

  /** A session ended. @param {Session} session @param {URL} url @param {Ending} ending */
  #lose(session, url, { reason, message }) {
    if (session !== this.#session) return;
    const ending = { reason, message: sentence(reason, message) };
    if (isFinal(reason)) return this.#end(ending);
    this.#release();
    this.chat.interrupted();
    const now = performance.now();
    if (now - this.#seatedAtMs > STABLE_MS) this.#attempts = 0;
    this.#seatsUntilMs = now + this.seatMs;
    this.#setState('reconnecting');
    this.emit('reconnecting', ending);
    void this.#reconnect(url, this.#leaving.signal);
  }

  /** @param {URL} url @param {AbortSignal} signal */
  async #reconnect(url, signal) {
    while (!signal.aborted) {
      await pause(reconnectDelayMs(this.#attempts++, Math.random), signal);
      if (signal.aborted) return;
      try {
        const seat = await this.#seat(url, signal);
        if (signal.aborted) return leave(seat.session);
        this.#take(seat, url);
        return this.emit('reconnected', { resumed: seat.welcome.resumed });
      } catch (error) {
        const { code, message } = asTertuliaError(error);
        if (isFinal(code) && !signal.aborted) return this.#end({ reason: code, message });
      }
    }
  }

  /** Lets the session go. */
  #release() {
    clearTimeout(this.#patience);
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    const session = this.#session;
    this.#session = null;
    session?.close();
    this.#requests.interrupted();
  }

  /** @param {Ending} ending */
  #end(ending) {
    this.#release();
    this.#leaving.abort(cancelled());
    this.chat.closed(ending.reason);
    this.#setState('disconnected');
    this.emit('disconnected', ending);
  }

  /** @param {boolean} locked */
  #setLocked(locked) {
    if (this.locked === locked) return;
    this.locked = locked;
    this.emit('roomLocked', { locked });
  }

  /** @param {import('./roster.js').RosterEvent[]} events */
  #emitAll(events) {
    for (const { type, value } of events) this.emit(type, value);
  }

  /** @param {RoomState} state */
  #setState(state) {
    this.#state = state;
    this.emit('stateChanged', state);
  }
}

/** @param {unknown} error */
function asTertuliaError(error) {
  if (error instanceof TertuliaError) return error;
  return new TertuliaError('internal', 'Something went wrong in the page. Reload it.', { cause: error });
}
