/** Figures as people read them. */

/** @param {number} value */
export function milliseconds(value) {
  return `${Math.max(1, Math.round(value))} ms`;
}

/** A part of the whole, from 0 to 1. @param {number} value */
export function share(value) {
  const percent = value * 100;
  return `${percent >= 10 ? Math.round(percent) : percent.toFixed(1)} %`;
}

/** @param {number} perSecond */
export function bits(perSecond) {
  if (perSecond >= 1_000_000) return `${(perSecond / 1_000_000).toFixed(1)} Mbit/s`;
  return `${Math.round(perSecond / 1000)} kbit/s`;
}
