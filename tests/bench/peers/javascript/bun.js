// The benchmark's endpoints in Bun alone, validated by hand.
const INTEGER = /^-?\d+$/;

const refuse = (detail) => Response.json({ detail }, { status: 422 });
const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isAbsent = (value) => value === undefined || value === null;

function readItem(request) {
  const id = request.params.item_id;
  if (!INTEGER.test(id) || Number(id) < 1) return refuse("item_id must be an integer of 1 or more");

  const query = new URL(request.url).searchParams;
  const limit = query.get("limit") ?? "10";
  if (!INTEGER.test(limit) || Number(limit) > 100) return refuse("limit must be 100 at most");

  return Response.json({ item_id: Number(id), q: query.get("q"), limit: Number(limit) });
}

async function createItem(request) {
  let body;
  try {
    body = await request.json();
  } catch {
    return refuse("the body is not JSON");
  }
  if (typeof body !== "object" || body === null) return refuse("the body must be an object");

  const { name, price, tax, description, tags = [] } = body;
  if (!isText(name) || name.length < 1 || name.length > 50) return refuse("name: 1 to 50 long");
  if (!isNumber(price) || price <= 0) return refuse("price must be a number above 0");
  if (!isAbsent(tax) && !isNumber(tax)) return refuse("tax must be a number");
  if (!isAbsent(description) && !isText(description)) return refuse("description must be a string");
  if (!Array.isArray(tags) || !tags.every(isText)) return refuse("tags must be a list of strings");

  return Response.json({ name, price, tax: tax ?? null, description: description ?? null, tags });
}

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  routes: {
    "/": () => Response.json({ message: "Hello World" }),
    "/items/:item_id": { GET: readItem },
    "/items": { POST: createItem },
  },
});
