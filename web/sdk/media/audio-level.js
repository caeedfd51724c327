/** How loud audio is: in the header as in RFC 6464, for programs from 0 to 1. */

/** Nothing is heard, in dB below full scale. */
export const SILENCE_DB = 127;
/** What a meter shows as nothing, in dB below full scale: the noise of a quiet room. */
const METER_DB = 60;

/** @param {Float32Array} samples of any number of channels @returns {number} dB below full scale, 0 to {@link SILENCE_DB} */
export function audioLevel(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  if (sum === 0) return SILENCE_DB;
  return Math.min(SILENCE_DB, Math.max(0, Math.round(-10 * Math.log10(sum / samples.length))));
}

/** @param {number} decibels below full scale @returns {number} 0 to 1, as a meter shows it */
export function meterLevel(decibels) {
  return Math.max(0, 1 - decibels / METER_DB);
}

/** What {@link meterLevel} was made of. @param {number} level 0 to 1 @returns {number} dB below full scale */
export function decibelsOf(level) {
  return level > 0 ? (1 - level) * METER_DB : SILENCE_DB;
}
