/** The media of a room: what is published and what is subscribed to, as the room's sessions and its roster come and go. */
import { deviceLost, getLocalDevices } from './media/send/devices.js';
import { Publishing } from './media/send/publishing.js';
import { Subscribing } from './media/receive/subscribing.js';
import { Reports, statisticsOf } from './statistics.js';
import { isRepeatRequest } from './wire.js';

/** @typedef {import('./carrier.js').Session} Session */
/** @typedef {import('./connection.js').CarrierReason} CarrierReason */
/** @typedef {import('./participants.js').LocalParticipant} LocalParticipant */
/** @typedef {import('./participants.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./requests.js').Request} Request */
/** @typedef {import('./requests.js').Answer} Answer */
/** @typedef {import('./roster.js').RosterEvent} RosterEvent */
/** @typedef {import('./statistics.js').RoomStatistics} RoomStatistics */
/** @typedef {import('./wire/messages.js').ClientMessage} ClientMessage */
/** @typedef {import('./wire/messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./wire/messages.js').Welcome} Welcome */

/**
 * What the media needs of its room.
 * @typedef {object} MediaRoom
 * @property {() => Session | null} session
 * @property {() => CarrierReason} carrierReason
 * @property {() => number | null} roundTripMs
 * @property {() => LocalParticipant} self
 * @property {(request: Request) => Promise<Answer>} ask
 * @property {(message: ClientMessage) => void} tell dropped while there is no session
 * @property {(type: any, value: any) => void} emit
 */
/** @typedef {import('./media/send/publishing.js').PublishingOptions} MediaOptions */

/** How often statistics are told, in milliseconds. */
const STATISTICS_MS = 1000;
/** How often it is looked how loud oneself is, in milliseconds. */
const LEVEL_MS = 100;

export class RoomMedia {
  #room;
  #reports = new Reports();
  /** @type {ReturnType<typeof setInterval>[]} */
  #timers = [];
  /** The chosen one, and whether it is unplugged. */
  #speaker = '';
  #isSpeakerLost = false;
  /** @type {import('./wire/messages.js').Measurements | null} */
  #measurements = null;

  /** @param {MediaRoom} room @param {MediaOptions} options */
  constructor(room, options) {
    this.#room = room;
    const { ask, tell, self } = room;
    const emit = (/** @type {string} */ type, /** @type {any} */ value) => {
      room.emit(type, value);
      if (type === 'devicesChanged') void this.#lookForSpeaker().catch(() => {});
    };
    const carrier = () => room.session()?.carrier ?? null;
    this.publishing = new Publishing({
      ask, emit, carrier,
      sendDatagrams: (datagrams, { onStream, goesAhead }) => {
        const session = room.session();
        if (goesAhead) session?.sendAhead(datagrams);
        else if (onStream) session?.sendOnStream(datagrams);
        else for (const datagram of datagrams) session?.sendDatagram(datagram);
      },
      bufferedBytes: () => room.session()?.bufferedBytes() ?? 0,
      datagramsLeftOut: () => room.session()?.datagramsLeftOut() ?? 0,
    }, options);
    this.subscribing = new Subscribing({
      ask, tell, emit, self,
      sendDatagram: (datagram) => room.session()?.sendDatagram(datagram),
      pathMs: () => (carrier() === 'webtransport' ? room.roundTripMs() : null),
    }, options);
  }

  /** Whether media leaves. */
  get isSending() {
    return [...this.publishing.tracks.values()].some(({ muted }) => !muted);
  }

  /** A datagram came: what stands behind its zero byte. @param {Uint8Array} bytes */
  datagram(bytes) {
    if (isRepeatRequest(bytes)) this.publishing.repeat(bytes);
    else this.subscribing.media(bytes);
  }

  /** A session has a seat. @param {Welcome} welcome @param {string} room its name @param {Iterable<RemoteParticipant>} known who was there the last time */
  seated({ resumed, tracks }, room, known) {
    this.#measurements = null;
    this.publishing.seated({ resumed, tracks, room });
    this.subscribing.seated({ room });
    // After the room was left and joined again, who is there still is no event.
    for (const participant of known) for (const track of participant.tracks.values()) this.subscribing.published(participant, track);
    if (this.#timers.length > 0) return;
    this.#timers = [
      setInterval(() => this.#room.emit('statistics', this.stats()), STATISTICS_MS),
      setInterval(() => this.#listenToOneself(), LEVEL_MS),
    ];
  }

  /** The session broke; another will follow. */
  interrupted() {
    this.publishing.interrupted();
    this.subscribing.interrupted();
  }

  /** Nothing follows: devices are let go. */
  closed() {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.publishing.closed();
    this.subscribing.closed();
  }

  /** The relay said how the session does. @param {import('./wire/messages.js').Measurements} measurements */
  measured(measurements) {
    this.#measurements = measurements;
  }

  /** Takes what concerns the media. @param {ServerMessage} message */
  control(message) {
    switch (message.type) {
      case 'keyframeRequested': return this.publishing.keyframeRequested(message.track, message.spatialLayer);
      case 'layersWanted': return this.publishing.layersWanted(message);
      case 'activeSpeakers': return this.subscribing.relaySpeakers(message.participants);
      case 'onStage': return this.subscribing.relayStage(message.participants);
      case 'trackMuted': return this.publishing.mutedByAdmin(message.track, message.muted);
      case 'feedback':
        this.#reports.take(performance.now(), message);
        return this.publishing.feedback(message);
    }
  }

  /** Someone, or a track, came or went. @param {RosterEvent} event */
  roster({ type, value }) {
    switch (type) {
      case 'participantConnected':
        for (const track of value.tracks.values()) this.subscribing.published(value, track);
        break;
      case 'participantDisconnected':
        for (const track of value.participant.tracks.values()) this.subscribing.unpublished(track);
        break;
      case 'trackPublished': return this.subscribing.published(value.participant, value.track);
      case 'trackUnpublished': return this.subscribing.unpublished(value.track);
      case 'trackMuted': return this.subscribing.muted(value.track);
    }
  }

  /** @param {MediaDeviceKind} kind @param {string} deviceId */
  async switchActiveDevice(kind, deviceId) {
    if (kind !== 'audiooutput') return this.publishing.switchActiveDevice(kind, deviceId);
    const before = this.#speaker;
    this.#speaker = deviceId;
    this.#isSpeakerLost = false;
    try {
      await this.subscribing.setSpeaker(deviceId);
    } catch (error) {
      if (this.#speaker === deviceId) this.#speaker = before;
      throw error;
    }
  }

  /** A chosen speaker that is unplugged gives way to the browser's own choice until it is back. */
  async #lookForSpeaker() {
    const [chosen, speakers] = [this.#speaker, await getLocalDevices('audiooutput')];
    const isLost = !speakers.some(({ deviceId }) => deviceId === chosen);
    if (chosen === '' || chosen !== this.#speaker || isLost === this.#isSpeakerLost || this.#timers.length === 0) return;
    this.#isSpeakerLost = isLost;
    if (isLost) this.#room.emit('mediaFailed', { source: 'speaker', error: deviceLost('speaker') });
    await this.subscribing.setSpeaker(isLost ? '' : chosen);
  }

  /** @param {MediaDeviceKind} kind */
  activeDevice(kind) {
    return kind === 'audiooutput' ? (this.#isSpeakerLost ? '' : this.#speaker) || null : this.publishing.activeDevice(kind);
  }

  /** @returns {RoomStatistics} */
  stats() {
    const { session, carrierReason, roundTripMs } = this.#room;
    const lossOut = this.#reports.loss(performance.now());
    const carrier = session()?.carrier ?? null;
    const datagramsLeftOut = (session()?.datagramsLeftOut() ?? 0) + (session()?.leftOutOnStreams() ?? 0);
    const framesOnStreams = { ...(session()?.framesOnStreams() ?? { in: 0, out: 0 }) };
    const room = { carrier, carrierReason: carrierReason(), roundTripMs: roundTripMs(), lossOut, datagramsLeftOut, framesOnStreams, relay: this.#measurements };
    return statisticsOf(room, this.publishing, this.subscribing);
  }

  #listenToOneself() {
    const microphone = this.publishing.tracks.get('microphone');
    if (microphone) this.subscribing.setOwnLevel(microphone.muted ? 0 : microphone.level);
  }
}

