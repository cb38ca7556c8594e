/** Returns the value that a promise rejects with, of any type; throws if the promise resolves. */
export async function rejection<Thrown = any>(promise: Promise<unknown>): Promise<Thrown> {
  try {
    await promise;
  } catch (thrown) {
    return thrown as Thrown;
  }
  throw new Error("The promise did not reject");
}
