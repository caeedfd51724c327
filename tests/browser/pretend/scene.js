// Pictures of invented people and of an invented screen.

/** @param {HTMLCanvasElement} canvas @param {string} name */
export function drawScene(canvas, name) {
  const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const { width, height } = canvas;
  const hue = [...name].reduce((sum, letter) => sum + /** @type {number} */ (letter.codePointAt(0)) * 47, 0) % 360;
  const wall = paint.createLinearGradient(0, 0, width, height);
  wall.addColorStop(0, `hsl(${hue} 28% 78%)`);
  wall.addColorStop(1, `hsl(${hue + 30} 24% 58%)`);
  paint.fillStyle = wall;
  paint.fillRect(0, 0, width, height);
  paint.fillStyle = `hsl(${hue + 50} 40% 88%)`;
  paint.fillRect(width * 0.07, height * 0.1, width * 0.2, height * 0.42);
  paint.fillStyle = `hsl(${hue + 10} 22% 46%)`;
  paint.fillRect(width * 0.72, height * 0.2, width * 0.22, height * 0.04);
  for (let book = 0; book < 6; book++) {
    paint.fillStyle = `hsl(${hue + book * 55} 32% 52%)`;
    paint.fillRect(width * (0.735 + book * 0.033), height * (0.09 + (book % 3) * 0.015), width * 0.026, height * (0.11 - (book % 3) * 0.015));
  }
  paint.fillStyle = `hsl(${hue + 180} 30% 34%)`;
  paint.beginPath();
  paint.ellipse(width / 2, height * 1.08, width * 0.24, height * 0.42, 0, Math.PI, 0);
  paint.fill();
  paint.fillStyle = `hsl(26 38% ${52 + (hue % 20)}%)`;
  paint.fillRect(width * 0.46, height * 0.58, width * 0.08, height * 0.14);
  paint.beginPath();
  paint.ellipse(width / 2, height * 0.43, width * 0.088, height * 0.2, 0, 0, 2 * Math.PI);
  paint.fill();
  paint.fillStyle = `hsl(${20 + (hue % 25)} 30% ${16 + (hue % 24)}%)`;
  paint.beginPath();
  paint.ellipse(width / 2, height * 0.35, width * 0.098, height * 0.16, 0, Math.PI, 0);
  paint.fill();
}

/** @param {HTMLCanvasElement} canvas */
export function drawScreen(canvas) {
  const paint = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const { width, height } = canvas;
  paint.fillStyle = '#fbfaf7';
  paint.fillRect(0, 0, width, height);
  paint.fillStyle = '#2c3440';
  paint.fillRect(0, 0, width, height * 0.08);
  paint.fillStyle = '#30363f';
  paint.font = '600 22px system-ui, sans-serif';
  paint.fillText('Last week in figures', width * 0.07, height * 0.22);
  const values = [0.35, 0.5, 0.42, 0.66, 0.58, 0.8, 0.92];
  for (const [at, value] of values.entries()) {
    paint.fillStyle = at === 6 ? '#a8452a' : '#d9b9a6';
    paint.fillRect(width * (0.07 + at * 0.125), height * (0.88 - value * 0.55), width * 0.09, height * value * 0.55);
  }
}
