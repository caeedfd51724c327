/**
 * The sessions of a participant, one after the other: the first, those that follow when one broke, the one that goes on where UDP
 * does not get through any more, and the one that comes back to WebTransport. Whoever is told here sees one session at a time.
 */
import { approach } from './approach.js';
import { LOST } from './carrier.js';
import { cancelled, leave, moveToWebSocket, moveToWebTransport, takeSeat } from './connection.js';
import { isNetworkBack } from './deadline.js';
import { TertuliaError } from './error.js';
import { ALARM_MEMORY_MS, STABLE_MS, STEADY_MS, pause, reconnectDelayMs, returnDelayMs } from './reconnect.js';
import { sentence } from './sentences.js';
import { encodeClientMessage, isFinal } from './wire.js';

/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./carrier.js').StreamName} StreamName */
/** @typedef {import('./connection.js').CarrierReason} CarrierReason */
/** @typedef {import('./connection.js').Seat} Seat */
/** @typedef {import('./room.js').RoomOptions} RoomOptions */
/** @typedef {import('./wire/messages.js').Welcome} Welcome */
/** @typedef {'disconnected' | 'connecting' | 'connected' | 'reconnecting'} RoomState */
/** @typedef {{ reason: import('./error.js').ErrorCode, message: string }} Ending the reason for programs, and what to do for people */
/** @typedef {Ending & { attempt: number }} Interruption `attempt` 0: the session broke; else how many tries to come back failed since the last good session */

/**
 * What the sessions tell.
 * @typedef {object} SessionsListener
 * @property {(state: RoomState) => void} stateChanged
 * @property {(welcome: Welcome) => void} seated a session has a seat; its state is told next
 * @property {(welcome: Welcome) => void} began what the session hears follows
 * @property {(stream: StreamName, message: Uint8Array) => void} heard
 * @property {(media: Uint8Array) => void} media header and payload of a datagram
 * @property {() => void} released the session is over, whatever follows
 * @property {(ending: Ending) => void} interrupted it broke; another is being tried for
 * @property {(interruption: Interruption) => void} failed a try to come back failed; the next one follows
 * @property {(outcome: { resumed: boolean }) => void} reconnected also where none was interrupted, but the seat was gone when it was to move
 * @property {() => void} moved another carrier, without a break
 * @property {(ending: Ending) => void} ended nothing more happens until `connect`
 */
/** @typedef {Parameters<typeof approach>[2]} Past */

export class Sessions {
  #options;
  #past;
  #listener;
  #approach;
  /** @type {RoomState} */
  #state = 'disconnected';
  /** @type {Session | null} */
  #session = null;
  /** Where it leads. */
  #url = new URL('https://localhost/');
  /** @type {CarrierReason} */
  #carrierReason = null;
  /** Ends what tries to connect. */
  #leaving = new AbortController();
  /** Ends what tries to come back to WebTransport. */
  #returning = new AbortController();
  /** Ends what tries to go on over WebSocket. */
  #outlasting = new AbortController();
  /** Tries to go on over WebSocket beside the session that is on, since it was quiet about that, and when the last one began. */
  #alarms = 0;
  #alarmedAtMs = -Infinity;
  /** Tries to come back to WebTransport that were in vain, or that it was left after too soon. */
  #returns = 0;
  /** Whether the seat is on its way to another session: that the one before is replaced or breaks is no news. */
  #isMoving = false;
  /** Tries that failed since the last good session. */
  #attempts = 0;
  #seatedAtMs = 0;

  /** @param {RoomOptions} options @param {() => Past} past what earlier sessions left @param {SessionsListener} listener @param {typeof approach} [carriers] what is tried */
  constructor(options, past, listener, carriers = approach) {
    this.#options = options;
    this.#past = past;
    this.#listener = listener;
    this.#approach = carriers;
  }

  get state() {
    return this.#state;
  }

  /** The one that is on. */
  get current() {
    return this.#session;
  }

  /** Why it does not run over WebTransport; `null` if it does. */
  get carrierReason() {
    return this.#session ? this.#carrierReason : null;
  }

  /** @param {URL} url an address on the relay */
  async connect(url) {
    if (this.#state !== 'disconnected') {
      throw new TertuliaError('already_connected', 'The room is connected already. Disconnect first, or make another Room.');
    }
    const { signal } = (this.#leaving = new AbortController());
    this.#attempts = 0;
    this.#returns = 0;
    this.#setState('connecting');
    try {
      const seat = await this.#seat(url, signal);
      if (signal.aborted) {
        leave(seat.session);
        throw cancelled();
      }
      this.#take(seat, url);
    } catch (error) {
      const known = asTertuliaError(error);
      if (!signal.aborted) this.#end({ reason: known.code, message: known.message });
      throw known;
    }
  }

  /** Gives the seat up. */
  leave() {
    if (this.#state === 'disconnected') return;
    this.#leaving.abort(cancelled());
    this.#session?.send('control', encodeClientMessage({ type: 'leave' }));
    this.#end({ reason: 'left', message: 'You left the room.' });
  }

  /**
   * The session that is on ended, or is of no use any longer.
   * @param {Ending} ending
   */
  lose({ reason, message }) {
    if (!this.#session) return;
    // The relay replaces the session before, and what breaks by itself meanwhile does not matter. What ends the stay does.
    if (this.#isMoving && (reason === 'replaced' || !isFinal(reason))) return;
    const url = this.#url;
    const ending = { reason, message: sentence(reason, message) };
    if (isFinal(reason)) return this.#end(ending);
    if (this.#isSteady) this.#returns = 0;
    this.#release();
    if (performance.now() - this.#seatedAtMs > STABLE_MS) this.#attempts = 0;
    this.#setState('reconnecting');
    this.#listener.interrupted(ending);
    void this.#reconnect(url, this.#leaving.signal);
  }

  /** Nothing comes on the session that is on that should, or something does again. @param {boolean} isUnheard */
  unheard(isUnheard) {
    this.#outlasting.abort();
    const isStuck = this.#session?.carrier !== 'webtransport' || this.#options.transport === 'webtransport';
    if (isUnheard && !isStuck && !this.#isMoving) void this.#outlast(this.#url);
  }

  /** Whether UDP has passed for so long that it counts as a network that passes it. */
  get #isSteady() {
    return this.#session?.carrier === 'webtransport' && performance.now() - this.#seatedAtMs > STEADY_MS;
  }

  /** @param {URL} url @param {AbortSignal} signal @returns {Promise<Seat>} */
  async #seat(url, signal) {
    try {
      return await takeSeat(await this.#approach(url, this.#options, this.#past(), signal));
    } catch (error) {
      if (isNetworkBack(error) && !signal.aborted) return this.#seat(url, signal);
      throw error;
    }
  }

  /** @param {Seat} seat @param {URL} url */
  #take({ session, welcome, heard, media: early, carrierReason }, url) {
    this.#session = session;
    this.#carrierReason = carrierReason;
    this.#seatedAtMs = performance.now();
    this.#alarms = 0;
    this.#url = url;
    this.#listener.seated(welcome);
    this.#setState('connected');
    this.#listener.began(welcome);
    const hear = (/** @type {StreamName} */ stream, /** @type {Uint8Array} */ message) => {
      if (session === this.#session) this.#listener.heard(stream, message);
    };
    const take = (/** @type {Uint8Array} */ media) => {
      if (session === this.#session) this.#listener.media(media);
    };
    for (const { stream, message } of heard) hear(stream, message);
    for (const media of early.take()) take(media);
    session.listen({
      message: hear,
      media: take,
      closed: (ending) => { if (session === this.#session) this.lose(ending); },
    });
    if (carrierReason === 'udp_blocked' && session === this.#session) void this.#return(url);
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
        return this.#listener.reconnected({ resumed: seat.welcome.resumed });
      } catch (error) {
        const { code, message } = asTertuliaError(error);
        if (signal.aborted) return;
        if (isFinal(code)) return this.#end({ reason: code, message });
        this.#listener.failed({ reason: code, message, attempt: this.#attempts });
      }
    }
  }

  /** Tries from time to time whether UDP gets through by now, beside the session that is on. @param {URL} url */
  async #return(url) {
    const returning = (this.#returning = new AbortController());
    const signal = AbortSignal.any([this.#leaving.signal, returning.signal]);
    while (!signal.aborted) {
      await pause(returnDelayMs(this.#returns++, Math.random), signal);
      if (signal.aborted || await this.#move(url, signal, moveToWebTransport)) return;
    }
  }

  /** Goes on over WebSocket where nothing comes over UDP, unless something does before that stands. @param {URL} url */
  async #outlast(url) {
    const outlasting = (this.#outlasting = new AbortController());
    const signal = AbortSignal.any([this.#leaving.signal, outlasting.signal]);
    const isSteady = this.#isSteady;
    while (!signal.aborted) {
      // A path on which hardly anything comes is not to be filled with this.
      if (performance.now() - this.#alarmedAtMs > ALARM_MEMORY_MS) this.#alarms = 0;
      await pause(reconnectDelayMs(this.#alarms, Math.random), signal);
      if (signal.aborted) return;
      this.#alarms++;
      this.#alarmedAtMs = performance.now();
      if (isSteady) this.#returns = 0;
      if (await this.#move(url, signal, moveToWebSocket)) return;
    }
  }

  /**
   * Takes up a session that is opened beside the one that is on, and says whether there is nothing more to try.
   * @param {URL} url
   * @param {AbortSignal} signal ends the attempt as long as the seat is not on its way
   * @param {typeof moveToWebTransport} move
   */
  async #move(url, signal, move) {
    const before = this.#session;
    if (!before) return true;
    const seat = await this.#tryBeside(url, signal, move);
    if (!seat) return false;
    this.#isMoving = false;
    if ('reason' in seat) this.lose(seat);
    else if (this.#leaving.signal.aborted) leave(seat.session);
    else {
      // It tells its end, which is that of nobody.
      this.#session = null;
      before.close();
      this.#listener.released();
      this.#take(seat, url);
      if (seat.welcome.resumed) this.#listener.moved();
      // The relay was started again meanwhile, and the others came to know.
      else this.#listener.reconnected({ resumed: false });
    }
    return true;
  }

  /**
   * A seat on a new session; `null` where the session that is on still has it, and why where none has it any longer.
   * @param {URL} url
   * @param {AbortSignal} signal
   * @param {typeof moveToWebTransport} move
   * @returns {Promise<Seat | Ending | null>}
   */
  async #tryBeside(url, signal, move) {
    const { signal: leaving } = this.#leaving;
    // Of this attempt. One that was given up may still wait for its token while the seat moves on another.
    let isCommitted = false;
    const committed = () => { isCommitted = this.#isMoving = true; };
    try {
      const attempt = await this.#approach(url, this.#options, this.#past(), signal);
      // Once the seat is on its way there is no way back: leaving alone ends that.
      return await move({ ...attempt, signal: leaving, reach: attempt.reach ?? signal }, committed);
    } catch (error) {
      if (!isCommitted || leaving.aborted) return null;
      const { code, message } = asTertuliaError(error);
      return isFinal(code) ? { reason: code, message } : { reason: 'connection_lost', message: LOST };
    }
  }

  /** Lets the session go. */
  #release() {
    this.#returning.abort();
    this.#outlasting.abort();
    this.#isMoving = false;
    const session = this.#session;
    this.#session = null;
    session?.close();
    this.#listener.released();
  }

  /** @param {Ending} ending */
  #end(ending) {
    this.#release();
    this.#leaving.abort(cancelled());
    this.#setState('disconnected');
    this.#listener.ended(ending);
  }

  /** @param {RoomState} state */
  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener.stateChanged(state);
  }
}

/** @param {unknown} error */
function asTertuliaError(error) {
  if (error instanceof TertuliaError) return error;
  return new TertuliaError('internal', 'Something went wrong in the page. Reload it.', { cause: error });
}
