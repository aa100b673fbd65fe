// Inference with the trained network.

function decodeWeights(network) {
  const bytes = Uint8Array.from(atob(network.weights), (character) => character.charCodeAt(0));
  if (network.precision === "float32") return new Float32Array(bytes.buffer);
  // Half precision (IEEE 754): 1 sign bit, 5 exponent bits, 10 fraction bits.
  return Float32Array.from(new Uint16Array(bytes.buffer), (bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
}

// The error function, to 1.5e-7 (Abramowitz and Stegun 1964, formula 7.1.26).
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - polynomial * Math.exp(-x * x));
}

// Activations by their names in Keras.
const ACTIVATIONS = {
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  leaky_relu: (x) => (x > 0 ? x : 0.2 * x),
  relu: (x) => (x > 0 ? x : 0),
  selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

function softmax(values) {
  const highest = Math.max(...values);
  const powers = Array.from(values, (value) => Math.exp(value - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// Layers as {units, activation}; weights as each layer's kernel, row by row, then its bias.
function buildClassifier(network) {
  const weights = decodeWeights(network);
  return (pixels) => {
    let values = pixels, start = 0;
    for (const { units, activation } of network.layers) {
      const end = start + values.length * units;
      const sums = Float64Array.from(weights.subarray(end, end + units));
      values.forEach((value, input) => {
        if (value === 0) return;
        const row = start + input * units;
        for (let unit = 0; unit < units; unit++) sums[unit] += value * weights[row + unit];
      });
      values = activation === "softmax" ? softmax(sums) : sums.map(ACTIVATIONS[activation]);
      start = end + units;
    }
    return values;
  };
}
