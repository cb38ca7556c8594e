/**
 * Entry of the fork server. How it boots is in fork-server-boot.ts: nearly all of our own modules are loaded only when it is
 * settled where V8 puts them, as every fork pays for that.
 */
import { findGc } from "./fork/collect-garbage.js";
import { packHeap } from "./fork/pack-heap.js";
import { keepYoungGeneration } from "./fork/young-generation.js";

keepYoungGeneration();
packHeap();
findGc();
await import("./fork/fork-server-boot.js");
