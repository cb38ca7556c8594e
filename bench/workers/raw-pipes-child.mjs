/** A child of raw-pipes.mjs: each line is a batch of items, and the answer is a line with their results. */
import double from "./double.cjs";

let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop();
  if (lines.length > 0) process.stdout.write(lines.map(answer).join(""));
});

function answer(line) {
  const items = JSON.parse(line);
  const results = new Array(items.length);
  for (let i = 0; i < items.length; i += 1) results[i] = double(items[i]);
  return `${JSON.stringify(results)}\n`;
}
