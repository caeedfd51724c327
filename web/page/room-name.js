/** Names for new rooms that one can read to someone over the telephone and that nobody guesses. */

const MOODS = 'amber brave bright calm clear clever cosy early fair fresh gentle golden green happy honest kind late light lively lucky mellow merry mild misty neat noble patient plain quiet rosy silver simple slow soft steady still sunny sweet tender warm wise young'.split(' ');
const PLACES = 'arbor attic balcony bay beach bench bridge brook cafe canyon cove cottage courtyard dune field fjord forest garden gate glade grove harbor hearth hill island kiosk lagoon lake lantern library market meadow mill orchard park patio plaza porch quarry river salon shore studio terrace tower valley veranda village vineyard'.split(' ');
const NUMBERS = 10_000;

/** Such as `calm-amber-harbor-4821`: one of 35 million. */
export function newRoomName() {
  const [one, two, three, four] = crypto.getRandomValues(new Uint32Array(4));
  const number = String(four % NUMBERS).padStart(4, '0');
  return `${MOODS[one % MOODS.length]}-${MOODS[two % MOODS.length]}-${PLACES[three % PLACES.length]}-${number}`;
}
