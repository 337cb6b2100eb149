// Unpack what packing.py packed: base64 -> gunzip -> JSON text and binary -> plain arrays.
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(base64) {
  const bytes = bytesOf(base64.trim());
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const NULL_STEP = -2147483648;

// Numbers from differences in four byte planes; packing.py describes the format.
function readNumbers(binary, [offset, count, divide, leaps]) {
  const values = new Array(count), leap = new Map(leaps);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const at = offset + i;
    const step = binary[at] | (binary[at + count] << 8) | (binary[at + 2 * count] << 16) |
      (binary[at + 3 * count] << 24);
    if (step === NULL_STEP) values[i] = null;
    else values[i] = (sum += leap.get(i) ?? step) / divide;
  }
  return values;
}

// Replace `~i` and `~s` objects by the arrays that they stand for.
function expand(value, binary) {
  if (Array.isArray(value)) return value.map((v) => expand(v, binary));
  if (value === null || typeof value !== "object") return value;
  if ("~i" in value) return readNumbers(binary, value["~i"]);
  if ("~s" in value) {
    const [words, indices] = value["~s"];
    return expand(indices, binary).map((i) => words[i]);
  }
  for (const key of Object.keys(value)) value[key] = expand(value[key], binary);
  return value;
}

async function unpack(base64) {
  const whole = await inflate(base64);
  const length = new DataView(whole.buffer).getUint32(0, true);
  const text = new TextDecoder().decode(whole.subarray(4, 4 + length));
  return expand(JSON.parse(text), whole.subarray(4 + length));
}
