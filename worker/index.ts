// The Worker: the front door and the rooms behind it.
import { router } from "./router.ts";

export { Directory } from "./directory/directory-object.ts";
export { GatewayObject as Gateway } from "./gateway/gateway-object.ts";
export { QueueObject as Queue } from "./queue/queue-object.ts";
export { TopicObject as Topic } from "./topic/topic-object.ts";

export default { fetch: router.fetch };
