/** Who is speaking: whose level is well above the noise, smoothed, and for a while after the last word. */

import { SILENCE_DB } from '../audio-level.js';

/** From here on it is speech, in dB below full scale: rooms are at 50 to 70. */
export const SPEECH_DB = 42;
/** How long someone counts as speaking after the last loud word, in milliseconds: pauses between words are shorter. */
export const HOLD_MS = 800;

/** How fast the level rises and falls, as the share of the difference per 100 ms. */
const RISE = 0.5;
const FALL = 0.2;
export class Speakers {
  /** By participant. @type {Map<number, { db: number, atMs: number, spokeAtMs: number }>} */
  #levels = new Map();

  /** What a participant's microphone says. @param {number} nowMs @param {number} participant @param {number} db below full scale */
  heard(nowMs, participant, db) {
    const known = this.#levels.get(participant) ?? { db: SILENCE_DB, atMs: nowMs - 100, spokeAtMs: -Infinity };
    const steps = Math.min(10, (nowMs - known.atMs) / 100);
    const share = 1 - (1 - (db < known.db ? RISE : FALL)) ** steps;
    const smoothed = known.db + (db - known.db) * share;
    this.#levels.set(participant, { db: smoothed, atMs: nowMs, spokeAtMs: smoothed < SPEECH_DB ? nowMs : known.spokeAtMs });
  }

  /** @param {number} participant */
  left(participant) {
    this.#levels.delete(participant);
  }

  /** Participants who are speaking, the loudest first. @param {number} nowMs @returns {number[]} */
  active(nowMs) {
    return [...this.#levels]
      .filter(([, { spokeAtMs }]) => nowMs - spokeAtMs < HOLD_MS)
      .sort(([, a], [, b]) => a.db - b.db)
      .map(([participant]) => participant);
  }
}
