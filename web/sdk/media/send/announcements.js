/** What the relay was told of one's tracks, and what it says of them. A session that breaks is made up for by the next. */
import { TertuliaError } from '../../error.js';

/** @typedef {import('./publication.js').Publication} Publication */
/** @typedef {import('./publishing.js').Link} Link */
/** @typedef {import('./publishing.js').LayersWanted} LayersWanted */
/** @typedef {import('../../requests.js').Request} Request */
/** @typedef {import('../../wire/messages.js').PublishedTrack} PublishedTrack */

/** Tracks whose layers may be wanted before their ids are known here. */
const EARLY_MAX = 32;

export class Announcements {
  #link;
  /** Wanted of tracks that have no id here yet. @type {Map<number, LayersWanted>} */
  #early = new Map();
  #isOpen = false;

  /** @param {Link} link */
  constructor(link) {
    this.#link = link;
  }

  /** There is a session. */
  begin() {
    this.#isOpen = true;
    this.#early.clear();
  }

  /** There is none. */
  end() {
    this.#isOpen = false;
  }

  get isOpen() {
    return this.#isOpen;
  }

  /** Tells of a track that the relay does not know. @param {Publication} publication */
  async announce(publication) {
    if (!this.#isOpen) return;
    const answer = await this.#ask({ type: 'publish', track: publication.info });
    if (answer?.type !== 'published') return;
    // It was given up meanwhile.
    if (publication.isOver) return void (await this.withdraw(answer.track));
    this.#identify(publication, answer.track);
    publication.isAnnouncedMuted = false;
    await this.tellMuted(publication);
  }

  /** The relay still knows a track. @param {Publication} publication @param {PublishedTrack} known */
  async resume(publication, known) {
    this.#identify(publication, known.track);
    publication.isAnnouncedMuted = known.muted;
    await this.tellMuted(publication);
  }

  /** @param {number} track its id; 0: the relay does not know it */
  async withdraw(track) {
    if (track !== 0 && this.#isOpen) await this.#ask({ type: 'unpublish', track });
  }

  /** Says whether something is sent, if that was not said before. @param {Publication} publication */
  async tellMuted(publication) {
    const { id, isMuted } = publication;
    if (id === 0 || !this.#isOpen || isMuted === publication.isAnnouncedMuted) return;
    publication.isAnnouncedMuted = isMuted;
    await this.#ask({ type: 'setMuted', track: id, muted: isMuted });
  }

  /** @param {Publication | undefined} publication @param {LayersWanted} wanted */
  layersWanted(publication, wanted) {
    if (publication) return publication.layersWanted(wanted);
    // The answer that gives the track its id may be about to be looked at.
    if (this.#early.size < EARLY_MAX) this.#early.set(wanted.track, wanted);
  }

  /** @param {Publication} publication @param {number} id */
  #identify(publication, id) {
    publication.published(id);
    const wanted = this.#early.get(id);
    this.#early.delete(id);
    if (wanted) publication.layersWanted(wanted);
    if (publication.wasPublished) return;
    publication.wasPublished = true;
    this.#link.emit('localTrackPublished', { track: publication.track });
  }

  /** @param {Request} request @returns the answer; `null` if the session ended before: the next one makes up for it */
  async #ask(request) {
    try {
      return await this.#link.ask(request);
    } catch (error) {
      if (error instanceof TertuliaError && (error.code === 'not_connected' || error.code === 'connection_lost')) return null;
      throw error;
    }
  }
}
