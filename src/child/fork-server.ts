/**
 * The folder holds what runs in children only: their entries, what makes a fork sound (fork/), what runs items (items/)
 * and what finds the worker (find/). Here: the entry of the fork server, which boots in fork/fork-server-boot.ts. V8's
 * heap is configured first, before nearly all of our own modules are loaded: every fork pays for where V8 places them.
 */
import { findGc } from "./fork/collect-garbage.js";
import { packHeap } from "./fork/pack-heap.js";
import { keepYoungGeneration } from "./fork/young-generation.js";

keepYoungGeneration();
packHeap();
findGc();
await import("./fork/fork-server-boot.js");
