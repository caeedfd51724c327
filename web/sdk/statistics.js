/** What a meeting is like at the moment, in figures: those of both directions, and of each track. */

/** @typedef {import('./carrier.js').Carrier} Carrier */
/** @typedef {import('./connection.js').CarrierReason} CarrierReason */
/** @typedef {import('./media/publishing.js').Publishing} Publishing */
/** @typedef {import('./media/subscribing.js').Subscribing} Subscribing */
/** @typedef {Extract<import('./wire/messages.js').ServerMessage, { type: 'feedback' }>} Feedback */

/**
 * @typedef {object} RoomStatistics
 * @property {Carrier | null} carrier
 * @property {CarrierReason} carrierReason
 * @property {number | null} roundTripMs
 * @property {number} lossIn of the datagrams that should have come in the last second, the part that did not: 0 to 1
 * @property {number} lossOut the same for what was sent, as the least impaired subscriber has it
 * @property {number} bitrateIn bits per second
 * @property {number} bitrateOut bits per second
 * @property {({ direction: 'in' } & ReturnType<Subscribing['stats']>['tracks'][number] | { direction: 'out' } & ReturnType<Publishing['stats']>['tracks'][number])[]} tracks
 */

/** How long what a subscriber reported counts, in milliseconds: it reports each second. */
const FEEDBACK_MS = 3000;

/** What subscribers say of one's own tracks. */
export class Reports {
  /** By track. @type {Map<number, { atMs: number, received: number, lost: number }>} */
  #last = new Map();

  /** @param {number} nowMs @param {Feedback} feedback */
  take(nowMs, { track, best: { received, lost } }) {
    this.#last.set(track, { atMs: nowMs, received, lost });
  }

  /** The part of the datagrams that got lost, 0 to 1. @param {number} nowMs */
  loss(nowMs) {
    let [received, lost] = [0, 0];
    for (const [track, report] of this.#last) {
      if (nowMs - report.atMs > FEEDBACK_MS) {
        this.#last.delete(track);
        continue;
      }
      received += report.received;
      lost += report.lost;
    }
    return lost > 0 ? lost / (received + lost) : 0;
  }
}

/**
 * @param {{ carrier: Carrier | null, carrierReason: CarrierReason, roundTripMs: number | null, lossOut: number }} room
 * @param {Publishing} publishing
 * @param {Subscribing} subscribing
 * @returns {RoomStatistics}
 */
export function statisticsOf(room, publishing, subscribing) {
  const { lossIn, bitrateIn, tracks: incoming } = subscribing.stats();
  const { tracks: outgoing } = publishing.stats();
  return {
    ...room,
    lossIn,
    bitrateIn,
    bitrateOut: outgoing.reduce((sum, { bitrate }) => sum + bitrate, 0),
    tracks: [
      ...incoming.map((track) => ({ direction: /** @type {const} */ ('in'), ...track })),
      ...outgoing.map((track) => ({ direction: /** @type {const} */ ('out'), ...track })),
    ],
  };
}
