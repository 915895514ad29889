/* The inputs of whole requests: what is missing, what a parameter model sees, which body is JSON,
 * in which order errors come. The expected bodies are answers of FastAPI 0.141 to these requests.
 */
#include "json_lua.h"
#include "schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct request {
    const char *inputs;
    const char *path, *query, *headers, *cookies, *form; /* name=value&name=value, decoded */
    const char *body, *content_type;                     /* default: application/json */
    const char *want;                                    /* the 422's body; "" when it is valid */
};

static const char separate[] =
    "return schema.inputs{ groups = { { source = 'path', fields = { { 'item_id', t.integer{ ge = 1 "
    "} } } }, { source = 'query', fields = { { 'q', t.string{ optional = true } }, { 'limit', "
    "t.integer{ le = 100, default = 10 } }, { 'flag', t.boolean{ default = false } }, { 'xs', "
    "t.array{ item = t.integer{}, default = {} } }, { 'req', t.string{ min_length = 3 } } } }, { "
    "source = 'header', fields = { { 'user_agent', t.string{ optional = true } }, { 'x_token', "
    "t.array{ item = t.string{}, default = {} } }, { 'x_n', t.integer{} } } }, { source = "
    "'cookie', fields = { { 'ads_id', t.integer{ optional = true } } } } } }";
static const char filter[] =
    "return schema.inputs{ groups = { { source = 'query', model = t.model{ name = 'Filter', extra "
    "= 'forbid', fields = { { 'limit', t.integer{ gt = 0, le = 100, default = 100 } }, { 'offset', "
    "t.integer{ ge = 0, default = 0 } }, { 'order_by', t.literal{ values = { 'created_at', "
    "'updated_at' }, default = 'created_at' } }, { 'tags', t.array{ item = t.string{}, default = "
    "{} } }, { 'q', t.string{ optional = true } } } }, as = 'f' } } }";
static const char query_model[] =
    "return schema.inputs{ groups = { { source = 'query', model = t.model{ name = 'F2', fields = { "
    "{ 'a', t.integer{} }, { 'b', t.array{ item = t.integer{} } }, { 'c', t.string{ optional = "
    "true } }, { 'd', t.set{ item = t.string{}, default = {} } }, { 'x_y', t.string{ default = 'd' "
    "} } } } } } }";
static const char header_model[] =
    "return schema.inputs{ groups = { { source = 'header', model = t.model{ name = 'H', fields = { "
    "{ 'host', t.string{} }, { 'save_data', t.boolean{} }, { 'if_modified_since', t.string{ "
    "optional = true } }, { 'traceparent', t.string{ optional = true } }, { 'x_tag', t.array{ item "
    "= t.string{}, default = {} } } } } } } }";
static const char item[] =
    "return schema.inputs{ groups = { { source = 'body', model = t.model{ name = 'Item', fields = "
    "{ { 'name', t.string{} }, { 'price', t.number{} }, { 'tax', t.number{ optional = true } }, { "
    "'tags', t.array{ item = t.string{}, default = {} } } } } } } }";
static const char several[] =
    "return schema.inputs{ groups = { { source = 'body', fields = { { 'item', t.model{ name = "
    "'Item', fields = { { 'name', t.string{} }, { 'price', t.number{} }, { 'tax', t.number{ "
    "optional = true } }, { 'tags', t.array{ item = t.string{}, default = {} } } } } }, { 'user', "
    "t.map{ value = t.integer{} } }, { 'importance', t.integer{ gt = 0, default = 3 } } } } } }";
static const char embedded[] =
    "return schema.inputs{ groups = { { source = 'body', model = t.model{ name = 'Item', fields = "
    "{ { 'name', t.string{} }, { 'price', t.number{} }, { 'tax', t.number{ optional = true } }, { "
    "'tags', t.array{ item = t.string{}, default = {} } } } }, embed = true, embed_name = 'item' } "
    "} }";
static const char form[] =
    "return schema.inputs{ groups = { { source = 'form', fields = { { 'username', t.string{} }, { "
    "'age', t.integer{ default = 5 } }, { 'xs', t.array{ item = t.integer{}, default = {} } }, { "
    "'opt', t.string{ optional = true } } } } } }";
static const char form_model[] =
    "return schema.inputs{ groups = { { source = 'form', model = t.model{ name = 'FormM', extra = "
    "'forbid', fields = { { 'username', t.string{} }, { 'password', t.string{} }, { 'age', "
    "t.integer{ default = 5 } }, { 'many', t.array{ item = t.integer{}, default = {} } } } } } } }";
static const char list_body[] =
    "return schema.inputs{ groups = { { source = 'body', model = t.array{ item = t.model{ name = "
    "'Item', fields = { { 'name', t.string{} }, { 'price', t.number{} }, { 'tax', t.number{ "
    "optional = true } }, { 'tags', t.array{ item = t.string{}, default = {} } } } } } } } }";
static const char text_body[] =
    "return schema.inputs{ groups = { { source = 'body', model = t.string{} } } }";
static const char optional[] =
    "return schema.inputs{ groups = { { source = 'query', fields = { { 'q', t.array{ item = "
    "t.integer{}, optional = true } }, { 't', t.tuple{ items = { t.integer{}, t.string{} }, "
    "optional = true } }, { 'u', t.union{ members = { t.integer{}, t.array{ item = t.string{} } }, "
    "default = 3 } } } }, { source = 'body', model = t.model{ name = 'Item', fields = { { 'name', "
    "t.string{} }, { 'price', t.number{} }, { 'tax', t.number{ optional = true } }, { 'tags', "
    "t.array{ item = t.string{}, default = {} } } }, optional = true } } } }";
static const char cookie_model[] =
    "return schema.inputs{ groups = { { source = 'cookie', model = t.model{ name = 'CkM', extra = "
    "'forbid', fields = { { 'session_id', t.string{} }, { 'fb', t.string{ optional = true } } } } "
    "} } }";
static const struct request requests[] = {
    {.inputs = separate,
     .path = "item_id=0",
     .query = "req=ab&limit=200&flag=maybe&xs=1&xs=x&q=",
     .headers = "host=testserver&user-agent=testclient&x-n=y&x-token=a",
     .cookies = "ads_id=z",
     .want = "{\"detail\":[{\"type\":\"greater_than_equal\",\"loc\":[\"path\",\"item_id\"],\"msg\":"
             "\"Input should be greater than or equal to "
             "1\",\"input\":\"0\",\"ctx\":{\"ge\":1}},{\"type\":\"less_than_equal\",\"loc\":["
             "\"query\",\"limit\"],\"msg\":\"Input should be less than or equal to "
             "100\",\"input\":\"200\",\"ctx\":{\"le\":100}},{\"type\":\"bool_parsing\",\"loc\":["
             "\"query\",\"flag\"],\"msg\":\"Input should be a valid boolean, unable to interpret "
             "input\",\"input\":\"maybe\"},{\"type\":\"int_parsing\",\"loc\":[\"query\",\"xs\",1],"
             "\"msg\":\"Input should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"x\"},{\"type\":\"string_too_short\",\"loc\":[\"query\",\"req\"]"
             ",\"msg\":\"String should have at least 3 "
             "characters\",\"input\":\"ab\",\"ctx\":{\"min_length\":3}},{\"type\":\"int_parsing\","
             "\"loc\":[\"header\",\"x-n\"],\"msg\":\"Input should be a valid integer, unable to "
             "parse string as an "
             "integer\",\"input\":\"y\"},{\"type\":\"int_parsing\",\"loc\":[\"cookie\",\"ads_id\"],"
             "\"msg\":\"Input should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"z\"}]}"},
    {.inputs = separate,
     .path = "item_id=x",
     .headers = "Host=testserver&Accept=*/*&accept-encoding=gzip, deflate&connection=keep-alive"
                "&user-agent=testclient",
     .want = "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"path\",\"item_id\"],\"msg\":"
             "\"Input should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"x\"},{\"type\":\"missing\",\"loc\":[\"query\",\"req\"],\"msg\":"
             "\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"header\",\"x-n\"],"
             "\"msg\":\"Field required\",\"input\":null}]}"},
    {.inputs = filter,
     .query = "limit=0&offset=x&order_by=zz",
     .want = "{\"detail\":[{\"type\":\"greater_than\",\"loc\":[\"query\",\"limit\"],\"msg\":"
             "\"Input should be greater than "
             "0\",\"input\":\"0\",\"ctx\":{\"gt\":0}},{\"type\":\"int_parsing\",\"loc\":[\"query\","
             "\"offset\"],\"msg\":\"Input should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"x\"},{\"type\":\"literal_error\",\"loc\":[\"query\",\"order_"
             "by\"],\"msg\":\"Input should be 'created_at' or "
             "'updated_at'\",\"input\":\"zz\",\"ctx\":{\"expected\":\"'created_at' or "
             "'updated_at'\"}}]}"},
    {.inputs = filter,
     .query = "tool=plumbus&tool=b&limit=5",
     .want = "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"query\",\"tool\"],\"msg\":"
             "\"Extra inputs are not permitted\",\"input\":[\"plumbus\",\"b\"]}]}"},
    {.inputs = filter,
     .query = "tags=a&tags=b&q=x&x=1&y=2&x=3",
     .want = "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"query\",\"x\"],\"msg\":\"Extra "
             "inputs are not "
             "permitted\",\"input\":[\"1\",\"3\"]},{\"type\":\"extra_forbidden\",\"loc\":["
             "\"query\",\"y\"],\"msg\":\"Extra inputs are not permitted\",\"input\":\"2\"}]}"},
    {.inputs = filter,
     .query = "limit=&q=",
     .want = "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"query\",\"limit\"],\"msg\":\"Input "
             "should be a valid integer, unable to parse string as an integer\",\"input\":\"\"}]}"},
    {.inputs = query_model,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"query\",\"a\"],\"msg\":\"Field "
             "required\",\"input\":{\"d\":[],\"x_y\":\"d\"}},{\"type\":\"missing\",\"loc\":["
             "\"query\",\"b\"],\"msg\":\"Field required\",\"input\":{\"d\":[],\"x_y\":\"d\"}}]}"},
    {.inputs = query_model,
     .query = "a=x&zz=1&zz=2",
     .want = "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"query\",\"a\"],\"msg\":\"Input "
             "should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"x\"},{\"type\":\"missing\",\"loc\":[\"query\",\"b\"],\"msg\":"
             "\"Field "
             "required\",\"input\":{\"a\":\"x\",\"d\":[],\"x_y\":\"d\",\"zz\":[\"1\",\"2\"]}}]}"},
    {.inputs = query_model,
     .query = "a=1&b=q&x_y=5&other=é",
     .want =
         "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"query\",\"b\",0],\"msg\":\"Input "
         "should be a valid integer, unable to parse string as an integer\",\"input\":\"q\"}]}"},
    {.inputs = header_model,
     .headers = "Host=testserver&Accept=*/*&accept-encoding=gzip, deflate&connection=keep-alive"
                "&user-agent=testclient",
     .want =
         "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"save_data\"],\"msg\":\"Field "
         "required\",\"input\":{\"host\":\"testserver\",\"x_tag\":[],\"accept\":\"*/"
         "*\",\"accept-encoding\":\"gzip, "
         "deflate\",\"connection\":\"keep-alive\",\"user-agent\":\"testclient\"}}]}"},
    {.inputs = header_model,
     .headers = "host=testserver&user-agent=testclient&save-data=perhaps&x-other=1",
     .want =
         "{\"detail\":[{\"type\":\"bool_parsing\",\"loc\":[\"header\",\"save_data\"],\"msg\":"
         "\"Input should be a valid boolean, unable to interpret input\",\"input\":\"perhaps\"}]}"},
    {.inputs = item, .body = "{\"name\":\"a\",\"price\":1}", .want = ""},
    {.inputs = item,
     .body = "{\"name\":\"a\"}",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"price\"],\"msg\":\"Field "
             "required\",\"input\":{\"name\":\"a\"}}]}"},
    {.inputs = item,
     .body = "[]",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields from\",\"input\":[]}]}"},
    {.inputs = item,
     .body = "null",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = item,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = item,
     .body = "{",
     .want = "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",1],\"msg\":\"JSON decode "
             "error\",\"input\":{},\"ctx\":{\"error\":\"Expecting property name enclosed in double "
             "quotes\"}}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":\"x\",\"tags\":[1,\"b\"]}",
     .want = "{\"detail\":[{\"type\":\"float_parsing\",\"loc\":[\"body\",\"price\"],\"msg\":"
             "\"Input should be a valid number, unable to parse string as a "
             "number\",\"input\":\"x\"},{\"type\":\"string_type\",\"loc\":[\"body\",\"tags\",0],"
             "\"msg\":\"Input should be a valid string\",\"input\":1}]}"},
    {.inputs = item,
     .body = "\"s\"",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields from\",\"input\":\"s\"}]}"},
    {.inputs = item,
     .body = "5",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields from\",\"input\":5}]}"},
    {.inputs = item, .body = "{\"name\":\"é😀\",\"price\":1e2}", .want = ""},
    {.inputs = item,
     .body = "{\"a\":1,\"a\":2}",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"name\"],\"msg\":\"Field "
             "required\",\"input\":{\"a\":2}},{\"type\":\"missing\",\"loc\":[\"body\",\"price\"],"
             "\"msg\":\"Field required\",\"input\":{\"a\":2}}]}"},
    {.inputs = item,
     .body = "true",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields from\",\"input\":true}]}"},
    {.inputs = item, .body = "  {\"name\" : \"a\" , \"price\" : 1.50} ", .want = ""},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "application/geo+json",
     .want = ""},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "application/geo+json-seq",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "text/plain",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "APPLICATION/JSON; charset=utf-8",
     .want = ""},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "application/json;",
     .want = ""},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "application/x-www-form-urlencoded",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "json",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = item,
     .body = "{\"name\":\"a\",\"price\":1}",
     .content_type = "application/json, text/plain",
     .want = "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input "
             "should be a valid dictionary or object to extract fields "
             "from\",\"input\":\"{\\\"name\\\":\\\"a\\\",\\\"price\\\":1}\"}]}"},
    {.inputs = several,
     .body = "{}",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .body = "[]",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"importance\"],"
             "\"msg\":\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .body = "null",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .body = "5",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"importance\"],"
             "\"msg\":\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .body = "\"x\"",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"importance\"],"
             "\"msg\":\"Field required\",\"input\":null}]}"},
    {.inputs = several,
     .body = "{\"item\":null,\"user\":{\"a\":\"x\"},\"importance\":0}",
     .want =
         "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
         "required\",\"input\":null},{\"type\":\"int_parsing\",\"loc\":[\"body\",\"user\",\"a\"],"
         "\"msg\":\"Input should be a valid integer, unable to parse string as an "
         "integer\",\"input\":\"x\"},{\"type\":\"greater_than\",\"loc\":[\"body\",\"importance\"],"
         "\"msg\":\"Input should be greater than 0\",\"input\":0,\"ctx\":{\"gt\":0}}]}"},
    {.inputs = several,
     .body = "{\"importance\":null,\"item\":{},\"user\":[]}",
     .want =
         "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\",\"name\"],\"msg\":\"Field "
         "required\",\"input\":{}},{\"type\":\"missing\",\"loc\":[\"body\",\"item\",\"price\"],"
         "\"msg\":\"Field "
         "required\",\"input\":{}},{\"type\":\"dict_type\",\"loc\":[\"body\",\"user\"],\"msg\":"
         "\"Input should be a valid dictionary\",\"input\":[]}]}"},
    {.inputs = several,
     .body = "{\"item\":1}",
     .content_type = "text/plain",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null},{\"type\":\"missing\",\"loc\":[\"body\",\"user\"],\"msg\":"
             "\"Field required\",\"input\":null}]}"},
    {.inputs = embedded,
     .body = "{\"name\":\"a\",\"price\":1}",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = embedded,
     .body = "[]",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = embedded,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"item\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = form,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"username\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = form,
     .form = "username=",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"username\"],\"msg\":\"Field "
             "required\",\"input\":null}]}"},
    {.inputs = form,
     .form = "username=a&age=&xs=1&xs=b&opt=",
     .want =
         "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"body\",\"xs\",1],\"msg\":\"Input "
         "should be a valid integer, unable to parse string as an integer\",\"input\":\"b\"}]}"},
    {.inputs = form,
     .form = "age=x&username=é",
     .want =
         "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"body\",\"age\"],\"msg\":\"Input should "
         "be a valid integer, unable to parse string as an integer\",\"input\":\"x\"}]}"},
    {.inputs = form_model,
     .want =
         "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"username\"],\"msg\":\"Field "
         "required\",\"input\":{\"age\":5,\"many\":[]}},{\"type\":\"missing\",\"loc\":[\"body\","
         "\"password\"],\"msg\":\"Field required\",\"input\":{\"age\":5,\"many\":[]}}]}"},
    {.inputs = form_model,
     .form = "username=&password=x&extra=1&extra=2",
     .want = "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"extra\"],\"msg\":"
             "\"Extra inputs are not permitted\",\"input\":[\"1\",\"2\"]}]}"},
    {.inputs = form_model,
     .form = "username=a&password=b&many=1&many=x&age=",
     .want = "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"body\",\"age\"],\"msg\":\"Input "
             "should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"\"},{\"type\":\"int_parsing\",\"loc\":[\"body\",\"many\",1],"
             "\"msg\":\"Input should be a valid integer, unable to parse string as an "
             "integer\",\"input\":\"x\"}]}"},
    {.inputs = list_body,
     .body = "[{\"name\":\"a\",\"price\":1},{\"name\":1}]",
     .want = "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",1,\"name\"],\"msg\":\"Input "
             "should be a valid "
             "string\",\"input\":1},{\"type\":\"missing\",\"loc\":[\"body\",1,\"price\"],\"msg\":"
             "\"Field required\",\"input\":{\"name\":1}}]}"},
    {.inputs = list_body,
     .body = "{}",
     .want = "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\"],\"msg\":\"Input should be a "
             "valid list\",\"input\":{}}]}"},
    {.inputs = text_body,
     .body = "5",
     .want = "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\"],\"msg\":\"Input should be "
             "a valid string\",\"input\":5}]}"},
    {.inputs = optional,
     .body = "{}",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"name\"],\"msg\":\"Field "
             "required\",\"input\":{}},{\"type\":\"missing\",\"loc\":[\"body\",\"price\"],\"msg\":"
             "\"Field required\",\"input\":{}}]}"},
    {.inputs = optional,
     .query = "q=1&q=b&t=1&t=x&u=5&u=6",
     .want =
         "{\"detail\":[{\"type\":\"int_parsing\",\"loc\":[\"query\",\"q\",1],\"msg\":\"Input "
         "should be a valid integer, unable to parse string as an integer\",\"input\":\"b\"}]}"},
    {.inputs = optional,
     .query = "t=1",
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"query\",\"t\",1],\"msg\":\"Field "
             "required\",\"input\":[\"1\"]}]}"},
    {.inputs = cookie_model,
     .want = "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"cookie\",\"session_id\"],\"msg\":"
             "\"Field required\",\"input\":{}}]}"},
    {.inputs = cookie_model,
     .cookies = "session_id=a&x=b",
     .want = "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"cookie\",\"x\"],\"msg\":"
             "\"Extra inputs are not permitted\",\"input\":\"b\"}]}"},
};

static lua_State *L;
static struct peri_result *result;

/* What the host keeps in a request, these tests keep in a table. */
static void keep(lua_State *vm, int target, const char *name, size_t len)
{
    (void) len;
    lua_setfield(vm, target, name);
}

static int open_vm(void **state)
{
    (void) state;
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_perigee_json, 1);
    luaL_requiref(L, "schema", luaopen_perigee_schema, 1);
    lua_settop(L, 0);
    result = peri_result_new();
    return luaL_dostring(L, "t = setmetatable({}, { __index = function(_, kind)\n"
                            "  return function(node)\n"
                            "    node.kind = kind\n"
                            "    return node\n"
                            "  end\n"
                            "end })");
}

static int close_vm(void **state)
{
    (void) state;
    peri_result_free(result);
    lua_close(L);
    return 0;
}

static void run(const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

enum { MOST_PAIRS = 16 };

static struct peri_fields split(const char *text, struct peri_field pairs[MOST_PAIRS])
{
    struct peri_fields fields = {.items = pairs};
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name = strcspn(text, "=");
        pairs[fields.count++] = (struct peri_field){
            .name = text, .name_len = name, .value = text + name + 1, .value_len = len - name - 1};
        text += len + (text[len] == '&');
    }
    return fields;
}

static enum peri_verdict validate(const struct request *request)
{
    struct peri_field pairs[5][MOST_PAIRS];
    const char *type = request->content_type ? request->content_type : "application/json";
    const struct peri_sources sources = {
        .path = split(request->path, pairs[0]),
        .query = split(request->query, pairs[1]),
        .headers = split(request->headers, pairs[2]),
        .cookies = split(request->cookies, pairs[3]),
        .form = split(request->form, pairs[4]),
        .body = request->body,
        .body_len = request->body ? strlen(request->body) : 0,
        .content_type = type,
        .content_type_len = strlen(type),
    };
    return peri_inputs_validate(peri_schema_inputs(L, 1), &sources, 64, result);
}

static void requests_are_refused_as_fastapi_does(void **state)
{
    (void) state;
    const char *inputs = NULL;
    for (size_t i = 0; i < COUNT(requests); i++) {
        if (requests[i].inputs != inputs) {
            lua_settop(L, 0);
            inputs = requests[i].inputs;
            run(inputs);
        }
        size_t len = 0;
        enum peri_verdict verdict = validate(&requests[i]);
        const char *errors = peri_result_errors(result, &len);
        if (verdict == PERI_VALID)
            len = 0;
        if (verdict == PERI_BAD_BODY || len != strlen(requests[i].want) ||
            memcmp(errors, requests[i].want, len) != 0)
            fail_msg("request %zu, verdict %d\n  want %s\n  got  %.*s", i, verdict,
                     requests[i].want, (int) len, errors);
    }
}

/* Validates, pushes to the global `got` and runs a chunk over it. */
static void push_and_run(const struct request *request, const char *chunk)
{
    lua_settop(L, 0);
    run(request->inputs);
    assert_int_equal(validate(request), PERI_VALID);
    lua_newtable(L);
    assert_int_equal(peri_inputs_push(L, 1, result, keep, 2), PERI_VALID);
    lua_setglobal(L, "got");
    run(chunk);
}

static void values_stand_under_the_names_of_their_groups(void **state)
{
    (void) state;
    push_and_run(&(struct request){.inputs = separate,
                                   .path = "item_id=7",
                                   .query = "req=abc&xs=1&xs=2&flag=on",
                                   .headers = "X-N= 5 &User-Agent=M\xE9",
                                   .cookies = "ads_id=9"},
                 "assert(math.type(got.params.item_id) == 'integer' and got.params.item_id == 7)\n"
                 "assert(got.query.q == nil and got.query.limit == 10 and got.query.flag == true)\n"
                 "assert(#got.query.xs == 2 and got.query.xs[2] == 2)\n"
                 "assert(got.headers.user_agent == 'M\\u{E9}' and got.headers.x_n == 5)\n"
                 "assert(json.encode(got.headers.x_token) == '[]')\n"
                 "assert(got.cookies.ads_id == 9)");
}

static void bytes_that_are_no_utf8_become_replacement_characters(void **state)
{
    (void) state;
    push_and_run(&(struct request){.inputs = separate,
                                   .path = "item_id=7",
                                   .query = "req=\xFF\xFE"
                                            "ab",
                                   .headers = "x-n=1"},
                 "assert(got.query.req == '\\u{FFFD}\\u{FFFD}ab')");
}

static void a_group_may_have_another_name(void **state)
{
    (void) state;
    push_and_run(&(struct request){.inputs = filter, .query = "limit=5"},
                 "assert(got.f.limit == 5 and got.f.order_by == 'created_at')\n"
                 "assert(got.query == nil)");
}

static void defaults_of_strict_models_need_not_be_strict(void **state)
{
    (void) state;
    static const char strict[] =
        "return schema.inputs{ groups = { { source = 'query', model = t.model{ name = 'S', strict "
        "= "
        "true, fields = { { 'day', t.date{ default = '2020-01-02' } }, { 'n', t.decimal{ default = "
        "'1.5' } }, { 'q', t.string{ default = 'x' } }, { 'w', t.array{ item = t.date{}, default = "
        "{"
        " '2020-01-03' } } } } }, as = 'f' } } }";
    push_and_run(&(struct request){.inputs = strict, .query = ""},
                 "assert(tostring(got.f.day) == '2020-01-02' and got.f.n == '1.5')\n"
                 "assert(got.f.q == 'x' and tostring(got.f.w[1]) == '2020-01-03')");
    lua_settop(L, 0);
    run(strict);
    assert_int_equal(validate(&(struct request){.query = "day=2020-01-02"}), PERI_INVALID);
    assert_int_equal(peri_result_error_count(result), 1);
}

static void push_upload(lua_State *vm, void *file)
{
    lua_pushstring(vm, file);
}

static void file_parts_are_pushed_apart_from_form_fields(void **state)
{
    (void) state;
    char upload[] = "the upload";
    struct peri_field parts[] = {
        {.name = "note", .name_len = 4, .value = "hi", .value_len = 2},
        {.name = "doc", .name_len = 3, .file = upload},
        {.name = "raw", .name_len = 3, .value = "\0\1", .value_len = 2, .file = upload},
    };
    const struct peri_sources sources = {.form = {parts, COUNT(parts)}};
    lua_settop(L, 0);
    run("return schema.inputs{ groups = { { source = 'form', fields = { { 'note', t.string{} },"
        "  { 'doc', t.file{} }, { name = 'raw', type = t.bytes{}, file = true } } } } }");
    const struct peri_inputs *inputs = peri_schema_inputs(L, 1);
    assert_int_equal(peri_inputs_uses(inputs), PERI_USES_FORM | PERI_USES_FILES);
    peri_result_on_file(result, push_upload);
    assert_int_equal(peri_inputs_validate(inputs, &sources, 64, result), PERI_VALID);
    lua_newtable(L);
    assert_int_equal(peri_inputs_push(L, 1, result, keep, 2), PERI_VALID);
    lua_setglobal(L, "got");
    run("assert(got.form.note == 'hi' and got.form.doc == nil)\n"
        "assert(got.files.doc == 'the upload' and got.files.raw == '\\0\\1')");
    parts[1] = (struct peri_field){.name = "doc", .name_len = 3, .value = "text", .value_len = 4};
    assert_int_equal(peri_inputs_validate(inputs, &sources, 64, result), PERI_INVALID);
    size_t len = 0;
    static const char want[] = "{\"detail\":[{\"type\":\"value_error\",\"loc\":[\"body\",\"doc\"],"
                               "\"msg\":\"Value error, Expected UploadFile, received: <class "
                               "'str'>\",\"input\":\"text\",\"ctx\":{\"error\":{}}}]}";
    const char *errors = peri_result_errors(result, &len);
    assert_int_equal(len, sizeof(want) - 1);
    assert_memory_equal(errors, want, len);
}

static void a_file_in_the_place_of_a_text_is_shown_by_what_it_is(void **state)
{
    (void) state;
    char upload[] = "the upload";
    struct peri_field part = {.name = "note",
                              .name_len = 4,
                              .file = upload,
                              .size = 3,
                              .filename = "a.txt",
                              .filename_len = 5,
                              .type = "text/plain",
                              .type_len = 10};
    const struct peri_sources sources = {.form = {&part, 1}};
    lua_settop(L, 0);
    run("return schema.inputs{ groups = { { source = 'form', fields = { { 'note', t.string{} } } "
        "} } }");
    const struct peri_inputs *inputs = peri_schema_inputs(L, 1);
    static const char *const headers[] = {"\"content-type\":\"text/plain\"", ""};
    for (size_t i = 0; i < COUNT(headers); i++) {
        char want[256];
        snprintf(want, sizeof(want),
                 "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"note\"],"
                 "\"msg\":\"Input should be a valid string\",\"input\":{\"filename\":\"a.txt\","
                 "\"size\":3,\"headers\":{%s}}}]}",
                 headers[i]);
        assert_int_equal(peri_inputs_validate(inputs, &sources, 64, result), PERI_INVALID);
        size_t len = 0;
        const char *errors = peri_result_errors(result, &len);
        assert_int_equal(len, strlen(want));
        assert_memory_equal(errors, want, len);
        part.type = NULL;
    }
}

static void each_group_knows_its_errors(void **state)
{
    (void) state;
    lua_settop(L, 0);
    run(separate);
    const struct request request = {
        .path = "item_id=0", .query = "req=abc", .headers = "x-n=y&x-token=a"};
    assert_int_equal(validate(&request), PERI_INVALID);
    const struct peri_inputs *inputs = peri_schema_inputs(L, 1);
    assert_int_equal(peri_result_group_errors(result, peri_inputs_group(inputs, "params")), 1);
    assert_int_equal(peri_result_group_errors(result, peri_inputs_group(inputs, "query")), 0);
    assert_int_equal(peri_result_group_errors(result, peri_inputs_group(inputs, "headers")), 1);
    assert_int_equal(peri_inputs_group(inputs, "body"), -1);
    assert_int_equal(peri_result_error_count(result), 2);
    /* What is valid can still be pushed, for dependencies that run before the refusal. */
    lua_newtable(L);
    assert_int_equal(peri_inputs_push(L, 1, result, keep, 2), PERI_INVALID);
    lua_getfield(L, 2, "query");
    assert_true(lua_istable(L, -1));
    lua_getfield(L, 2, "params");
    assert_true(lua_isnil(L, -1));
    peri_result_push_errors(L, result);
    assert_int_equal(lua_rawlen(L, -1), 2);
}

static void after_a_body_that_is_no_json_nothing_is_pushed(void **state)
{
    (void) state;
    lua_settop(L, 0);
    run(item);
    assert_int_equal(validate(&(struct request){.body = "{]"}), PERI_INVALID);
    lua_newtable(L);
    assert_int_equal(peri_inputs_push(L, 1, result, keep, 2), PERI_INVALID);
    lua_pushnil(L);
    assert_false(lua_next(L, 2));
    assert_int_equal(peri_result_error_count(result), 1);
}

static void a_body_python_cannot_read_is_no_422(void **state)
{
    (void) state;
    lua_settop(L, 0);
    run(item);
    assert_int_equal(validate(&(struct request){.body = "{\"name\":\"\xFF\"}"}), PERI_BAD_BODY);
    struct peri_buf deep = {0};
    for (int i = 0; i < 100; i++)
        peri_buf_add_byte(&deep, '[');
    peri_buf_add_byte(&deep, '\0');
    assert_int_equal(validate(&(struct request){.body = deep.data}), PERI_BAD_BODY);
    peri_buf_deinit(&deep);
}

static void mistakes_in_a_declaration_name_their_place(void **state)
{
    (void) state;
    static const char *const chunks[][2] = {
        {"schema.compile(t.model{ name = 'Item', fields = { { 'price', t.integer{ gt = 'x' } } } "
         "})",
         "Item.price: gt must be an integer"},
        {"schema.compile(t.array{ item = t.string{ pattern = '(' } })", "type.item: pattern: "},
        {"schema.compile(t.tuple{ items = { t.string{}, t.nothing{} } })",
         "type[2]: unknown kind of type 'nothing'"},
        {"schema.compile(t.model{ fields = { { 'a', 5 } } })", "type.a: a type is expected here"},
        {"schema.inputs{ groups = { { source = 'query', fields = {} }, { source = 'query', fields "
         "= "
         "{} } } }",
         "inputs: two groups are called 'query'"},
        {"schema.inputs{ groups = { { source = 'air', fields = {} } } }", "inputs: source must be"},
    };
    for (size_t i = 0; i < COUNT(chunks); i++) {
        lua_settop(L, 0);
        assert_int_not_equal(luaL_dostring(L, chunks[i][0]), LUA_OK);
        if (strstr(lua_tostring(L, -1), chunks[i][1]) == NULL)
            fail_msg("want %s, got %s", chunks[i][1], lua_tostring(L, -1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_refused_as_fastapi_does),
        cmocka_unit_test(values_stand_under_the_names_of_their_groups),
        cmocka_unit_test(bytes_that_are_no_utf8_become_replacement_characters),
        cmocka_unit_test(a_group_may_have_another_name),
        cmocka_unit_test(defaults_of_strict_models_need_not_be_strict),
        cmocka_unit_test(file_parts_are_pushed_apart_from_form_fields),
        cmocka_unit_test(a_file_in_the_place_of_a_text_is_shown_by_what_it_is),
        cmocka_unit_test(each_group_knows_its_errors),
        cmocka_unit_test(after_a_body_that_is_no_json_nothing_is_pushed),
        cmocka_unit_test(a_body_python_cannot_read_is_no_422),
        cmocka_unit_test(mistakes_in_a_declaration_name_their_place),
    };
    return cmocka_run_group_tests(tests, open_vm, close_vm);
}
