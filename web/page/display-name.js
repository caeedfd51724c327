/** The name that others see. */

/** As the relay bounds it, in bytes of UTF-8. */
const BYTES_MAX = 128;
const EMPTY = 'Say a name: it is what others see of you.';
const TOO_LONG = 'This name is too long. Some 40 letters fit, or 30 emoji.';

/** What is wrong with a name, in words; empty: nothing. @param {string} name without white space around it */
export function problemOfName(name) {
  if (name === '') return EMPTY;
  return new TextEncoder().encode(name).length > BYTES_MAX ? TOO_LONG : '';
}
