/** What a promise rejects with, whatever that is; a promise that resolves fails the test. */
export async function rejection<Thrown = any>(promise: Promise<unknown>): Promise<Thrown> {
  try {
    await promise;
  } catch (thrown) {
    return thrown as Thrown;
  }
  throw new Error("The promise did not reject");
}
