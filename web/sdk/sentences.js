/** What to do about what went wrong, in the words of whom it happens to. The codes are those of the protocol. */

/** @type {Readonly<Record<string, string>>} */
const SENTENCES = Object.freeze({
  shutting_down: 'The relay is being restarted and will be back in a moment.',
  slow_consumer: 'Your connection was too slow for what was said.',
  internal: 'The relay made a mistake. Join again.',
  token_missing: 'This meeting asks for an access token. Open the link that you were invited with, or enter the token.',
  token_invalid: 'The access token is not valid for this room. Get a new one where you got this one.',
  token_expired: 'The access token has expired. Get a new one where you got this one.',
  token_clock: 'The access token is not valid yet. Check the clock of the machine that made it, or wait a minute and try again.',
  removed: 'You were removed from the meeting. Ask whoever runs it if you think that this is a mistake.',
  meeting_ended: 'The meeting was ended for everyone.',
  room_locked: 'The room is locked. Ask someone in it to unlock it, and join again.',
  replaced: 'You joined from another tab or device. Go on there, or join again here.',
  identity_in_use: 'You are in this room already, in another tab or on another device. Leave there, and join again here.',
  history_unavailable: 'The relay cannot read the chat of this room at the moment. Try again in a minute.',
  too_fast: 'That was too much in a short time. Wait a moment, and try again.',
  not_allowed: 'Your access token does not allow that. Ask whoever runs the meeting.',
  chat_not_kept: 'The relay cannot keep chat at the moment. Those who are here have the message; who comes later will not see it.',
});

/**
 * @param {string} code
 * @param {string} said what the relay said
 */
export function sentence(code, said) {
  return SENTENCES[code] ?? (/[.!?]$/.test(said) ? said : `${said}.`);
}
