/** Who is in a room: what the relay says, as what really changed. */
import { RemoteTrack } from './media/receive/remote-track.js';
import { RemoteParticipant } from './participants.js';

/** @typedef {import('./wire/messages.js').ServerMessage} ServerMessage */
/** @typedef {Extract<ServerMessage, { type: 'participantJoined' }>} ParticipantInfo */

/**
 * @typedef {object} RosterEvents
 * @property {RemoteParticipant} participantConnected
 * @property {{ participant: RemoteParticipant, reason: import('./wire/reasons.js').CloseReason }} participantDisconnected `reason`: `left`, `removed`, ...
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackPublished
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackUnpublished
 * @property {{ participant: RemoteParticipant, track: RemoteTrack }} trackMuted also when it is no longer muted
 */
/** @typedef {import('./events.js').EventOf<RosterEvents>} RosterEvent */

/**
 * A session begins with the whole roster. It is compared with that of the session before, so that a session that broke and
 * came back is no event for anyone who stayed. A relay that was started again learns only by and by who is there: whoever it
 * does not name yet is missing, which is no event either, until `giveUp`.
 */
export class Roster {
  /** @type {Map<number, RemoteParticipant>} */
  participants = new Map();
  /** What a new session has said so far of who is there; `null` when it has said all. @type {Map<number, ParticipantInfo> | null} */
  #arriving = null;
  #awaited = 0;
  /** Who is waited for. @type {Set<number>} */
  #missing = new Set();
  #isPatient = false;

  /**
   * A session began and will name `count` participants.
   * @param {number} count
   * @param {{ isPatient?: boolean }} [options] whether to wait for those whom it does not name
   * @returns {RosterEvent[]}
   */
  begin(count, { isPatient = false } = {}) {
    this.#arriving = new Map();
    this.#awaited = count;
    this.#isPatient = isPatient;
    this.#missing.clear();
    return this.#settle();
  }

  /** Nobody is waited for any longer. @returns {RosterEvent[]} */
  giveUp() {
    return [...this.#missing].flatMap((id) => this.#left(id, 'connection_lost'));
  }

  /** @param {ServerMessage} message @returns {RosterEvent[]} what it changed; nothing for messages about something else */
  handle(message) {
    switch (message.type) {
      case 'participantJoined': return this.#joined(message);
      case 'participantLeft': return this.#left(message.participant, message.reason);
      case 'trackPublished': return this.#published(message.participant, new RemoteTrack(message.track));
      case 'trackUnpublished': return this.#unpublished(message.track);
      case 'trackMuted': return this.#muted(message.track, message.muted);
      default: return [];
    }
  }

  /** @param {ParticipantInfo} info @returns {RosterEvent[]} */
  #joined(info) {
    if (!this.#arriving) return this.#update(info);
    this.#arriving.set(info.participant, info);
    this.#awaited--;
    return this.#settle();
  }

  /** @returns {RosterEvent[]} */
  #settle() {
    const arriving = this.#arriving;
    if (!arriving || this.#awaited > 0) return [];
    this.#arriving = null;
    const gone = [...this.participants.keys()].filter((id) => !arriving.has(id));
    for (const id of gone) this.#missing.add(id);
    return [...(this.#isPatient ? [] : this.giveUp()), ...[...arriving.values()].flatMap((info) => this.#update(info))];
  }

  /** @param {ParticipantInfo} info @returns {RosterEvent[]} */
  #update(info) {
    this.#missing.delete(info.participant);
    const known = this.participants.get(info.participant);
    // Ids begin anew in a room that lost its history, so an id alone does not say that it is the same person.
    if (known && isPerson(known, info)) return this.#updateTracks(known, info);
    const participant = new RemoteParticipant(info);
    const left = [...(known ? this.#left(known.id, 'connection_lost') : []), ...this.#returned(info)];
    // As with a track that is published: whoever had its number before has it no longer.
    const before = info.tracks.flatMap(({ track }) => this.#unpublished(track));
    this.participants.set(participant.id, participant);
    return [...left, ...before, { type: 'participantConnected', value: participant }];
  }

  /** Who is waited for may be back with another number. @param {ParticipantInfo} info @returns {RosterEvent[]} */
  #returned(info) {
    const id = [...this.#missing].find((missing) => {
      const participant = this.participants.get(missing);
      return participant && isPerson(participant, info);
    });
    return id === undefined ? [] : this.#left(id, 'connection_lost');
  }

  /** @param {RemoteParticipant} participant @param {ParticipantInfo} info @returns {RosterEvent[]} */
  #updateTracks(participant, { metadata, tracks }) {
    participant.metadata = metadata;
    const now = new Map(tracks.map((track) => [track.track, new RemoteTrack(track)]));
    const gone = [...participant.tracks.values()].filter((track) => !isSame(track, now.get(track.id)));
    return [
      ...gone.flatMap(({ id }) => this.#unpublished(id)),
      ...[...now.values()].flatMap((track) =>
        participant.tracks.has(track.id) ? this.#muted(track.id, track.muted) : this.#published(participant.id, track)),
    ];
  }

  /** @param {number} id @param {import('./wire/reasons.js').CloseReason} reason @returns {RosterEvent[]} */
  #left(id, reason) {
    const participant = this.participants.get(id);
    this.participants.delete(id);
    this.#missing.delete(id);
    return participant ? [{ type: 'participantDisconnected', value: { participant, reason } }] : [];
  }

  /** @param {number} id @param {RemoteTrack} track @returns {RosterEvent[]} */
  #published(id, track) {
    const participant = this.participants.get(id);
    if (!participant) return [];
    const before = this.#unpublished(track.id);
    participant.tracks.set(track.id, track);
    return [...before, { type: 'trackPublished', value: { participant, track } }];
  }

  /** @param {number} id @returns {RosterEvent[]} */
  #unpublished(id) {
    const found = this.#find(id);
    found?.participant.tracks.delete(id);
    return found ? [{ type: 'trackUnpublished', value: found }] : [];
  }

  /** @param {number} id @param {boolean} muted @returns {RosterEvent[]} */
  #muted(id, muted) {
    const found = this.#find(id);
    if (!found || found.track.muted === muted) return [];
    found.track.muted = muted;
    return [{ type: 'trackMuted', value: found }];
  }

  /** @param {number} id */
  #find(id) {
    for (const participant of this.participants.values()) {
      const track = participant.tracks.get(id);
      if (track) return { participant, track };
    }
    return null;
  }
}

/** @param {RemoteParticipant} participant @param {ParticipantInfo} info */
function isPerson(participant, info) {
  return participant.identity === info.identity && participant.name === info.name && participant.kind === info.kind;
}

/** Ids of tracks begin anew as well: what was a camera may be a microphone. @param {RemoteTrack} track @param {RemoteTrack | undefined} now */
function isSame(track, now) {
  return now !== undefined && now.source === track.source && now.info.codec === track.info.codec && JSON.stringify(now.info.media) === JSON.stringify(track.info.media);
}
