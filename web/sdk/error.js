/**
 * All codes: the SDK's own, its page's, and what the protocol calls the reasons why a session ends and a request is refused;
 * `unknown_<number>` is a reason of a relay that is newer than the SDK.
 * @typedef {ConnectionCode | MediaCode | import('./wire/reasons.js').CloseReason | import('./wire/reasons.js').RefuseReason} ErrorCode
 */
/**
 * Of the way to a relay, of what is asked of it, and of chat.
 * @typedef {'already_connected' | 'chat_empty' | 'chat_not_kept' | 'chat_pending' | 'encryption_failed' | 'encryption_key' | 'encryption_unavailable' | 'events_unread' | 'insecure_page'
 *   | 'network_back' | 'not_connected' | 'origin_refused' | 'relay_unreachable' | 'token_unavailable' | 'transport_failed' | 'transport_unavailable'
 *   | 'transport_unknown' | 'wire_malformed'} ConnectionCode
 */
/**
 * Of what is published or shown.
 * @typedef {'canvas_used' | 'codec_failed' | 'codec_unsupported' | 'delivery_unknown' | 'device_busy' | 'device_denied' | 'device_failed' | 'device_fixed'
 *   | 'device_kind' | 'device_lost' | 'device_missing' | 'element_unsuitable' | 'frame_size' | 'gesture_needed' | 'playback_failed' | 'screen_cancelled' | 'screen_failed'
 *   | 'screen_unsupported' | 'source_taken' | 'speaker_unsupported' | 'worker_failed'} MediaCode
 */

/**
 * What went wrong, for programs and for people.
 *
 * `code` is stable, one of {@link ErrorCode}; `message` says what to do.
 */
export class TertuliaError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'TertuliaError';
    /** @readonly */
    this.code = code;
  }
}
