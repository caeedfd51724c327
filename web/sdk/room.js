/** A meeting, as one participant sees it. It outlives its sessions: when one breaks, another takes the same seat. */
import { roomOfAddress } from './approach.js';
import { Chat } from './chat.js';
import { cancelled } from './connection.js';
import { TertuliaError } from './error.js';
import { Emitter } from './events.js';
import { Heartbeat } from './heartbeat.js';
import { bytesOf, hexOf } from './hex.js';
import { getLocalDevices } from './media/send/devices.js';
import { ChatCipher } from './media/encryption.js';
import { LocalParticipant } from './participants.js';
import { Requests } from './requests.js';
import { RoomMedia } from './room-media.js';
import { Roster } from './roster.js';
import { Sessions } from './sessions.js';
import { checkSupport } from './support.js';
import { decodeServerChat, decodeServerMessage, encodeClientMessage } from './wire.js';

/** @typedef {import('./carrier.js').Carrier} Carrier */
/** @typedef {import('./carrier.js').StreamName} StreamName */
/** @typedef {import('./connection.js').CarrierReason} CarrierReason */
/** @typedef {import('./transcript.js').ChatMessage} ChatMessage */
/** @typedef {import('./participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./wire/messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./wire/messages.js').Welcome} Welcome */
/** @typedef {Welcome['permissions']} Permissions what one's token allows */
/** @typedef {import('./sessions.js').RoomState} RoomState */
/** @typedef {import('./sessions.js').Ending} Ending */
/** @typedef {import('./sessions.js').Interruption} Interruption */

/**
 * @typedef {object} RoomOptions
 * @property {string} name what the others see, unless the token has a name
 * @property {string} [room] left out: the last part of the address, or `lobby`
 * @property {string | (() => string | null | Promise<string | null>) | null} [token] for relays that ask for one. A function is called for each
 *   try to connect, so that a fresh token brings one back to a meeting that lasts longer than the first. There are also tries beside a session
 *   that is on, to go on over another carrier: when nothing is heard for a second, and where UDP was blocked, from time to time. Some are
 *   given up, and what the function answers then is not used
 * @property {string | null} [ticket] `room.ticket` of a page before, to come back to its seat
 * @property {'webtransport' | 'websocket' | string | null} [transport] use this carrier and no other
 * @property {string} [encryptionKey] end-to-end encryption: a secret that all participants have and the relay has not, at least 16 bytes in
 *   base64url, as the part of the link behind `#key=`. What is not encrypted with it is not played
 * @property {import('./media/send/publishing.js').VideoOptions} [video] how the camera is captured
 */

/**
 * @typedef {object} ConnectionEvents
 * @property {RoomState} stateChanged
 * @property {Interruption} reconnecting the session broke, or a try to come back failed; another one follows
 * @property {{ resumed: boolean }} reconnected `resumed`: to the same seat, and the others saw nothing. If not, there may have been no
 *   `reconnecting` before: the relay was started again, and that was noticed when the session was to go on over another carrier
 * @property {{ carrier: Carrier | null }} carrierChanged without a break, as when UDP does not get through any more, or does again. What the
 *   relay was asked before and has not answered (`muteTrack`, `setLocked`, `measurements`, ...) rejects with `connection_lost` all the same
 * @property {Ending} disconnected nothing more happens until `connect`
 * @property {{ locked: boolean }} roomLocked
 * @property {ChatMessage} chatMessage
 * @property {{ participant: RemoteParticipant, active: boolean }} chatTyping
 * @property {{ firstKept: number }} caughtUp all that was missed is here
 * @property {number} roundTrip milliseconds
 * @property {{ quiet: boolean }} quietChanged whether nothing comes from the relay at the moment: if that goes on, the session is given up
 * @property {import('./statistics.js').RoomStatistics} statistics each second
 */
/** @typedef {ConnectionEvents & import('./roster.js').RosterEvents & import('./media/send/publishing.js').PublishingEvents & import('./media/receive/subscribing.js').SubscribingEvents} RoomEvents */

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  #sessions;
  #media;
  #options;
  /** The room's name, once it is known. */
  #name = '';
  /** Made when the room's name is known, and of another room anew. @type {Promise<ChatCipher> | null} */
  #chatCipher;
  /** Ends what is being prepared for `connect`. */
  #leaving = new AbortController();
  /** @type {Heartbeat | null} */
  #heartbeat = null;
  #requests = new Requests();
  #roster = new Roster();
  /** @type {Uint8Array | null} */
  #ticket;
  /** Until when the seats of the last session are kept. */
  #seatsUntilMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;

  /** @param {RoomOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#sessions = new Sessions(options, () => ({ ticket: this.#ticket, chatAfter: this.chat.position }), {
      stateChanged: (state) => this.emit('stateChanged', state),
      seated: (welcome) => this.#seated(welcome),
      began: (welcome) => this.#began(welcome),
      heard: (stream, message) => this.#hear(stream, message),
      media: (media) => {
        this.#heartbeat?.heard(media.length);
        this.#media.datagram(media);
      },
      released: () => this.#released(),
      interrupted: (ending) => this.#interrupted(ending),
      failed: (interruption) => this.emit('reconnecting', interruption),
      reconnected: (outcome) => this.emit('reconnected', outcome),
      moved: () => this.emit('carrierChanged', { carrier: this.carrier }),
      ended: (ending) => this.#ended(ending),
    });
    this.#chatCipher = options.encryptionKey ? new Promise(() => {}) : null;
    this.#ticket = options.ticket ? bytesOf(options.ticket) : null;
    this.#media = new RoomMedia({
      session: () => this.#sessions.current,
      carrierReason: () => this.carrierReason,
      roundTripMs: () => this.roundTripMs,
      self: () => this.localParticipant,
      ask: (request) => this.#ask(request),
      tell: (message) => this.#sessions.current?.send('control', encodeClientMessage(message)),
      emit: (/** @type {keyof RoomEvents} */ type, value) => this.emit(type, value),
    }, options);
    this.localParticipant = new LocalParticipant(options.name, this.#media.publishing);
    /** What one may do; `null` before the first welcome. @type {Permissions | null} */
    this.permissions = null;
    /** Whether newcomers are kept out. */
    this.locked = false;
    /** How long the relay keeps the seat when the connection breaks, in milliseconds. */
    this.seatMs = 0;
    const chatCipher = () => this.#chatCipher;
    this.chat = new Chat({
      isOpen: () => this.state !== 'disconnected',
      send: (bytes) => this.#connected().send('chat', bytes),
      self: () => this.localParticipant,
      received: (message) => this.emit('chatMessage', message),
      get cipher() { return chatCipher(); },
    });
  }

  /** @param {string | URL} url an address on the relay @param {RoomOptions} options */
  static async connect(url, options) {
    const room = new Room(options);
    await room.connect(url);
    return room;
  }

  get state() {
    return this.#sessions.state;
  }

  /** What the session runs over; `null` while there is none. */
  get carrier() {
    return this.#sessions.current?.carrier ?? null;
  }

  /** Why it does not run over WebTransport; `null` if it does, or while there is none. @returns {CarrierReason} */
  get carrierReason() {
    return this.#sessions.carrierReason;
  }

  /** The last measured round trip in milliseconds, smoothed; `null` while there is none. */
  get roundTripMs() {
    return this.#heartbeat?.roundTripMs ?? null;
  }

  /** Whether nothing has come from the relay for three seconds. If that goes on, the session is given up and another one is tried for. */
  get isQuiet() {
    return this.#heartbeat?.isQuiet ?? false;
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
    const address = new URL(url);
    const { signal } = this.#leaving;
    if (this.state === 'disconnected') {
      this.#seatsUntilMs = 0;
      this.#name = this.#options.room ?? roomOfAddress(address);
      await this.#prepareEncryption();
      if (signal.aborted) throw cancelled();
    }
    await this.#sessions.connect(address);
  }

  /** Leaves the room. */
  disconnect() {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#sessions.leave();
  }

  /** Lets the others be heard. Call it while a click is being handled, where `audioBlocked` was told. @returns {Promise<boolean>} whether they are */
  startAudio() {
    return this.#media.subscribing.startAudio();
  }

  /** Takes another camera, microphone or speaker. @param {MediaDeviceKind} kind @param {string} deviceId as `getLocalDevices` says */
  async switchActiveDevice(kind, deviceId) {
    await this.#media.switchActiveDevice(kind, deviceId);
  }

  /** The id of the device in use; `null` while it is the browser's own choice. @param {MediaDeviceKind} kind */
  activeDevice(kind) {
    return this.#media.activeDevice(kind);
  }

  /** What the meeting is like at the moment, in figures. */
  stats() {
    return this.#media.stats();
  }

  /** Devices of this machine. @param {MediaDeviceKind} [kind] left out: all */
  static getLocalDevices(kind) {
    return getLocalDevices(kind);
  }

  /** What this browser can do in a meeting, and what to do about what it cannot. */
  static checkSupport() {
    return checkSupport();
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

  /** How one's session does, as the relay sees it; what is counted is counted since it began. `stats()` has the last answer. @returns {Promise<import('./wire/messages.js').Measurements>} */
  async measurements() {
    const answer = await this.#ask({ type: 'measurementsWanted' });
    if (answer.type !== 'measurements') throw new TertuliaError('malformed', 'The relay said something unexpected. Reload the page.');
    this.#media.measured(answer.measurements);
    return answer.measurements;
  }

  /** @param {import('./requests.js').Request} request */
  #ask(request) {
    return this.#requests.ask(request, (message) => this.#connected().send('control', encodeClientMessage(message)));
  }

  /** A key that is not whole is told before anyone is met. */
  async #prepareEncryption() {
    const { encryptionKey } = this.#options;
    if (!encryptionKey) return;
    const cipher = ChatCipher.create(encryptionKey, this.#name);
    await cipher;
    this.#chatCipher = cipher;
  }

  /** @param {Welcome} welcome */
  #seated(welcome) {
    this.#ticket = welcome.ticket;
    this.seatMs = welcome.seatMs;
    this.permissions = welcome.permissions;
    this.localParticipant.id = welcome.participant;
    this.localParticipant.name = welcome.name;
    this.chat.joined(welcome.chat, welcome.chatBytesMax);
    this.#media.seated(welcome, this.#name, this.#roster.participants.values());
    this.#heartbeat = new Heartbeat({
      ping: (token) => this.#connected().send('control', encodeClientMessage({ type: 'ping', token })),
      measured: () => this.emit('roundTrip', this.roundTripMs ?? 0),
      quiet: (quiet) => this.emit('quietChanged', { quiet }),
      silent: () => this.#sessions.lose({ reason: 'idle_timeout', message: 'The relay does not answer.' }),
      unheard: this.carrier === 'webtransport' ? (isUnheard) => this.#sessions.unheard(isUnheard) : null,
      isSending: () => this.#media.isSending,
    });
  }

  /** @param {Welcome} welcome */
  #began(welcome) {
    this.#setLocked(welcome.locked);
    this.#beginRoster(welcome);
  }

  /** @param {Welcome} welcome */
  #beginRoster({ participants, resumed }) {
    // A seat that is gone before its time: the relay was started again, and the others are on their way back too.
    const restMs = resumed ? 0 : this.#seatsUntilMs - performance.now();
    this.#emitAll(this.#roster.begin(participants, { isPatient: restMs > 0 }));
    if (restMs > 0) this.#patience = setTimeout(() => this.#emitAll(this.#roster.giveUp()), restMs);
  }

  /** @param {StreamName} stream @param {Uint8Array} message */
  #hear(stream, message) {
    this.#heartbeat?.heard(message.length);
    try {
      if (stream === 'chat') return this.#hearChat(decodeServerChat(message));
      const said = decodeServerMessage(message);
      if (said.type === 'closing') this.#sessions.lose(said);
      else this.#control(said);
    } catch (error) {
      if (!(error instanceof TertuliaError)) throw error;
      this.#sessions.lose({ reason: error.code, message: error.message });
    }
  }

  /** @param {ServerMessage} message */
  #control(message) {
    switch (message.type) {
      case 'pong': return this.#heartbeat?.pong(message.token);
      case 'done': case 'published': case 'measurements': case 'failed': return this.#requests.answered(message);
      case 'roomLocked': return this.#setLocked(message.locked);
      default:
        this.#media.control(message);
        return this.#emitAll(this.#roster.handle(message));
    }
  }

  /** @param {import('./wire/messages.js').ServerChat} said */
  #hearChat(said) {
    const session = this.#sessions.current;
    this.chat.hear(said, () => session === this.#sessions.current, (message) => this.#chatStream(message));
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
    const session = this.#sessions.current;
    if (!session) throw new TertuliaError('not_connected', 'The room is not connected at the moment. Do it again when it is.');
    return session;
  }

  /** The session is over. */
  #released() {
    clearTimeout(this.#patience);
    this.#seatsUntilMs = performance.now() + this.seatMs;
    const wasQuiet = this.isQuiet;
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    if (wasQuiet) this.emit('quietChanged', { quiet: false });
    this.#requests.interrupted();
    this.chat.interrupted();
  }

  /** @param {Ending} ending */
  #interrupted(ending) {
    this.#media.interrupted();
    this.emit('reconnecting', { ...ending, attempt: 0 });
  }

  /** @param {Ending} ending */
  #ended(ending) {
    this.chat.closed(ending.reason);
    this.#media.closed();
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
    for (const event of events) {
      this.emit(event.type, event.value);
      this.#media.roster(event);
    }
  }
}
