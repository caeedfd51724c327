/** What a meeting is like at the moment, in figures: those of both directions, and of each track. */

/** @typedef {import('./carrier.js').Carrier} Carrier */
/** @typedef {import('./connection.js').CarrierReason} CarrierReason */
/** @typedef {import('./media/send/publishing.js').Publishing} Publishing */
/** @typedef {import('./media/receive/subscribing.js').Subscribing} Subscribing */
/** @typedef {Extract<import('./wire/messages.js').ServerMessage, { type: 'feedback' }>} Feedback */

/**
 * What a track did in the last second, unless it says that it counts.
 * @typedef {object} TrackStatistics
 * @property {'in' | 'out'} direction
 * @property {number} track its id
 * @property {number} [participant] whose it is; left out: one's own
 * @property {import('./media/send/devices.js').TrackSource} source
 * @property {'audio' | 'video'} kind
 * @property {string} [codec]
 * @property {number} bitrate bits per second
 * @property {number} [frameRate] frames that were sent
 * @property {{ layer: number, width?: number, height?: number, bitrate?: number, frameRate?: number, temporalLayers?: number, encodeMs: number }[]} [renditions] that are encoded
 * @property {boolean} [muted]
 * @property {import('./media/receive/remote-track.js').TrackState} [state]
 * @property {number} [received] datagrams
 * @property {number} [lost] datagrams
 * @property {number} [jitterMs]
 * @property {number} [delayMs] over the least delay of the last ten seconds
 * @property {number} [width] of the picture that comes, in pixels
 * @property {number} [height]
 * @property {number} [spatialLayer]
 * @property {number} [captured] frames that one's own device gave since it began, as all that follow
 * @property {number} [unwanted] passed over, because nobody was to see them
 * @property {number} [dropped] because the encoders were busy
 * @property {number} [thinned] left out because fewer a second were to be sent
 * @property {number} [encoded] that an encoder gave back; what is missing it left out to keep its bitrate
 * @property {number} [framesSent] to the carrier
 * @property {number} [framesReceived] whole
 * @property {number} [framesDecoded]
 * @property {number} [framesDrawn]
 * @property {number} [framesLeftOut] of what comes: too late, or without their reference; of what one sends: the carrier did not keep up
 * @property {number} [freezes]
 * @property {number} [decoderFailures]
 * @property {{ p50: number, p95: number }} [latencyMs] from capture to picture or sound; on one machine alone, where the clocks are the same. Capture is when the
 *   browser gave the frame, by the device's own time and the soonest frame of the last second: what devices take before that is not in it
 * @property {number} [bufferedMs] audio that waits to be played
 * @property {number} [targetMs] what should wait
 * @property {number} [samplesPlayed]
 * @property {number} [samplesConcealed]
 * @property {number} [samplesSilent] of which nothing was left to make up something from
 * @property {number} [samplesStretched]
 * @property {number} [underruns]
 */
/**
 * @typedef {object} RoomStatistics
 * @property {Carrier | null} carrier
 * @property {CarrierReason} carrierReason
 * @property {number | null} roundTripMs
 * @property {number} lossIn of the datagrams that should have come in the last second, the part that did not: 0 to 1
 * @property {number} lossOut the same for what was sent, as the least impaired subscriber has it
 * @property {number} bitrateIn bits per second
 * @property {number} bitrateOut bits per second
 * @property {number} datagramsLeftOut that did not leave because the browser or the path took no more; of this session
 * @property {number} datagramsMalformed of others, which are no media and were passed over, since the first track
 * @property {number} datagramsUnknown of tracks that nobody had announced when they came, likewise
 * @property {import('./frame-streams.js').FramesOnStreams} framesOnStreams large frames on streams of their own
 * @property {import('./wire/messages.js').Measurements | null} relay what the relay said last of the session; `null` before the first `Room.measurements()`
 * @property {TrackStatistics[]} tracks
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
 * @param {{ carrier: Carrier | null, carrierReason: CarrierReason, roundTripMs: number | null, lossOut: number, datagramsLeftOut: number, framesOnStreams: RoomStatistics['framesOnStreams'], relay: RoomStatistics['relay'] }} room
 * @param {Publishing} publishing
 * @param {Subscribing} subscribing
 * @returns {RoomStatistics}
 */
export function statisticsOf(room, publishing, subscribing) {
  const { lossIn, bitrateIn, malformed: datagramsMalformed, unknown: datagramsUnknown, tracks: incoming } = subscribing.stats();
  const { tracks: outgoing } = publishing.stats();
  return {
    ...room,
    lossIn,
    bitrateIn,
    datagramsMalformed,
    datagramsUnknown,
    bitrateOut: outgoing.reduce((sum, { bitrate }) => sum + bitrate, 0),
    tracks: [
      ...incoming.map((track) => ({ direction: /** @type {const} */ ('in'), ...track })),
      ...outgoing.map((track) => ({ direction: /** @type {const} */ ('out'), ...track })),
    ],
  };
}
