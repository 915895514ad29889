// The benchmark's endpoints in Elysia on Bun, validated by its own types.
import { Elysia, t } from "elysia";

const Item = t.Object({
  name: t.String({ minLength: 1, maxLength: 50 }),
  price: t.Number({ exclusiveMinimum: 0 }),
  tax: t.Optional(t.Nullable(t.Number())),
  description: t.Optional(t.Nullable(t.String())),
  tags: t.Array(t.String(), { default: [] }),
});

const readItem = {
  params: t.Object({ item_id: t.Integer({ minimum: 1 }) }),
  query: t.Object({
    q: t.Optional(t.String()),
    limit: t.Integer({ maximum: 100, default: 10 }),
  }),
};

new Elysia()
  .get("/", () => ({ message: "Hello World" }))
  .get(
    "/items/:item_id",
    ({ params, query }) => ({ item_id: params.item_id, q: query.q, limit: query.limit }),
    readItem,
  )
  .post("/items", ({ body }) => body, { body: Item, response: Item })
  .listen({ hostname: "127.0.0.1", port: Number(process.argv[2]) });
