/** Who is in a room, and what they have published. */

/** @typedef {import('./wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('./wire/messages.js').TrackInfo} TrackInfo */
/** @typedef {{ id: number, info: TrackInfo, muted: boolean }} RemoteTrack */

/** Oneself. */
export class LocalParticipant {
  /** @param {string} name */
  constructor(name) {
    /** Given by the relay; 0 before. */
    this.id = 0;
    this.name = name;
  }
}

/** Someone else. */
export class RemoteParticipant {
  /** @param {{ participant: number, name: string, kind: 'meeting' | 'plain', tracks: PublishedTrack[] }} info */
  constructor({ participant, name, kind, tracks }) {
    this.id = participant;
    this.name = name;
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
