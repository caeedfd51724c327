/** Why sessions end, requests are refused and datagrams left out: labels in the order of their codes, as in `src/wire/reason.rs`. */
import { malformed, u32 } from './codec.js';

/** @template T @typedef {import('./codec.js').Codec<T>} Codec */
/** @typedef {`unknown_${number}`} UnknownReason of a newer relay */
/** @typedef {typeof CLOSE_REASONS[number] | UnknownReason} CloseReason */
/** @typedef {typeof REFUSE_REASONS[number] | UnknownReason} RefuseReason */

export const CLOSE_REASONS = Object.freeze(/** @type {const} */ ([
  'left', 'connection_lost', 'shutting_down', 'malformed', 'too_large', 'version_unsupported', 'join_timeout',
  'handshake_timeout', 'idle_timeout', 'slow_consumer', 'room_full', 'rooms_full', 'room_name', 'display_name',
  'refused_by_host', 'unexpected_stream', 'unexpected_message', 'not_text', 'internal',
  'token_missing', 'token_invalid', 'token_expired', 'token_clock', 'removed', 'meeting_ended', 'room_locked', 'replaced',
  'identity_in_use', 'history_unavailable', 'too_fast', 'page_closed',
]));

export const REFUSE_REASONS = Object.freeze(/** @type {const} */ ([
  'track_unknown', 'track_not_owned', 'track_own', 'track_invalid', 'tracks_full', 'participant_unknown',
  'chat_too_long', 'chat_too_fast', 'chat_busy', 'refused_by_host', 'too_fast', 'not_allowed', 'subscriptions_full',
  'not_subscribed', 'layer_unknown',
]));

export const DROP_REASONS = Object.freeze(/** @type {const} */ ([
  'malformed', 'foreign_session', 'version_unknown', 'not_joined', 'track_unknown', 'track_not_owned', 'over_budget', 'subscriber_slow',
  'path_too_small', 'subscriber_gone', 'track_muted', 'layer_unknown',
  'not_subscribed', 'late', 'reference_missing', 'superseded', 'not_selected', 'shard_busy', 'stream_stopped', 'doubled',
]));

/** Why a session ends or does not come about, where connecting again in the same way cannot mend it. */
const FINAL = new Set([
  'left', 'version_unsupported', 'room_name', 'display_name', 'refused_by_host', 'token_missing', 'token_invalid',
  'token_expired', 'removed', 'meeting_ended', 'room_locked', 'replaced', 'identity_in_use', 'origin_refused',
]);

/** @param {string} reason */
export function isFinal(reason) {
  return FINAL.has(reason);
}

const UNKNOWN = /^unknown_(\d+)$/;

/**
 * The label of `code`; a newer relay's codes are `unknown_<code>`.
 * @template {string} Label @param {readonly Label[]} labels @param {number} code @returns {Label | UnknownReason}
 */
function labelOf(labels, code) {
  return labels[code] ?? /** @type {UnknownReason} */ (`unknown_${code}`);
}

/** What a WebSocket close code (4000 and above) stands for. @param {number} code @returns {CloseReason} */
export function reasonOfWebSocketCode(code) {
  return code >= 4000 && code < 5000 ? labelOf(CLOSE_REASONS, code - 4000) : 'connection_lost';
}

/** The WebSocket close code of a close reason. @param {CloseReason} reason */
export function webSocketCodeOfReason(reason) {
  return 4000 + CLOSE_REASONS.findIndex((label) => label === reason);
}

/** @template {string} Label @param {readonly Label[]} labels @returns {Codec<Label | UnknownReason>} */
function reason(labels) {
  return {
    write(writer, value) {
      const known = labels.findIndex((label) => label === value);
      const code = known >= 0 ? known : Number(UNKNOWN.exec(value)?.[1] ?? NaN);
      if (Number.isNaN(code)) throw malformed(`there is no reason "${value}"`);
      u32.write(writer, code);
    },
    read: (reader) => labelOf(labels, u32.read(reader)),
  };
}

export const closeReason = reason(CLOSE_REASONS);
export const refuseReason = reason(REFUSE_REASONS);
export const dropReason = reason(DROP_REASONS);
