/** How loud a microphone is, as a row of lamps. */

/** A level of speech at the usual distance fills the row. */
const FULL = 0.35;

/**
 * Follows a level until the meter goes out of sight.
 * @param {HTMLElement} meter
 * @param {() => number | null} level 0 to 1; `null`: there is nothing to hear
 * @returns {() => void} ends it
 */
export function showLevel(meter, level) {
  const lamps = [...meter.children];
  let frame = 0;
  const draw = () => {
    const now = level();
    const share = Math.min(1, Math.sqrt((now ?? 0) / FULL));
    const lit = Math.round(share * lamps.length);
    for (const [at, lamp] of lamps.entries()) lamp.className = at < lit ? 'lit' : '';
    meter.hidden = now === null;
    const percent = String(Math.round(share * 100));
    if (meter.ariaValueNow !== percent) meter.ariaValueNow = percent;
    frame = requestAnimationFrame(draw);
  };
  draw();
  return () => cancelAnimationFrame(frame);
}
