// Access tokens as an application makes them: with LiveKit's server SDK.
import { AccessToken } from 'livekit-server-sdk';

/** @typedef {import('livekit-server-sdk').VideoGrant} VideoGrant */

/**
 * A token for a room. `grants` are LiveKit's, beyond `room` and `roomJoin`.
 * @param {{ apiKey: string, secret: string, room: string, identity: string, name?: string, metadata?: string, ttl?: string, grants?: VideoGrant }} options
 */
export function livekitToken({ apiKey, secret, room, identity, name, metadata, ttl, grants = {} }) {
  const token = new AccessToken(apiKey, secret, { identity, name, metadata, ttl });
  token.addGrant({ room, roomJoin: true, ...grants });
  return token.toJwt();
}
