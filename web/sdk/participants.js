/** Who is in a room, and what they have published. */

/** @typedef {import('./wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('./wire/messages.js').TrackInfo} TrackInfo */
/** @typedef {{ id: number, info: TrackInfo, muted: boolean }} RemoteTrack */

/** Oneself. */
export class LocalParticipant {
  /** @param {string} name */
  constructor(name) {
    /** Given by the relay; 0 before. The same after the connection broke and came back. */
    this.id = 0;
    /** What the others see: the token's, if it has one. */
    this.name = name;
  }
}

/** Someone else. */
export class RemoteParticipant {
  /** @param {{ participant: number, name: string, identity: string | null, metadata: string, kind: 'meeting' | 'plain', tracks: PublishedTrack[] }} info */
  constructor({ participant, name, identity, metadata, kind, tracks }) {
    this.id = participant;
    this.name = name;
    /** Who they are, as their token says; `null` in a relay without keys. */
    this.identity = identity;
    /** What their token says for the application. */
    this.metadata = metadata;
    /** `plain`: a WebSocket client that takes part in the chat alone. */
    this.kind = kind;
    /** @type {Map<number, RemoteTrack>} */
    this.tracks = new Map(tracks.map((track) => [track.track, remoteTrack(track)]));
  }
}

/** @param {PublishedTrack} published @returns {RemoteTrack} */
export function remoteTrack({ track, info, muted }) {
  return { id: track, info, muted };
}
