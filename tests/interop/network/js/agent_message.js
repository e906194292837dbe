// Agent messages in the header X-Agent-Message, and delegations as text: what the public packages have no code for.
import { CAR, DAG, Delegation, Message } from '@ucanto/core'
import { base64 } from 'multiformats/bases/base64'
import { create as createLink, decode as decodeLink } from 'multiformats/link'
import { identity } from 'multiformats/hashes/identity'
import { gunzipSync, gzipSync } from 'node:zlib'

export const HEADER = 'X-Agent-Message'

const carOf = (root, blocks) => CAR.encode({ roots: [root], blocks: new Map(blocks.map((one) => [`${one.cid}`, one])) })

/** The CAR file of a message. */
export const encode = (message) => carOf(message.root, [...message.iterateIPLDBlocks()])

/** The message that is a CAR file; every block of it is hashed. */
export const decode = async (bytes) => {
  const { roots, blocks } = CAR.decode(bytes)
  const store = DAG.createStore([...blocks.values()])
  return Message.view({ root: roots[0].cid, store })
}

/** The header that asks for invocations. */
export const request = async (...invocations) =>
  base64.encode(gzipSync(encode(await Message.build({ invocations }))))

/** The header that reports receipts, without the invocations they are for. */
export const report = async (...receipts) => {
  const message = await Message.build({ receipts })
  const ran = new Set(receipts.map((receipt) => `${receipt.ran.link()}`))
  const blocks = [...message.iterateIPLDBlocks()].filter((one) => !ran.has(`${one.cid}`))
  return base64.encode(gzipSync(carOf(message.root, blocks)))
}

/** The message in a header. */
export const read = (header) => decode(new Uint8Array(gunzipSync(base64.decode(header))))

/** A delegation as one line of text. */
export const toText = async (delegation) => {
  const { ok } = await Delegation.archive(delegation)
  return createLink(CAR.code, identity.digest(ok)).toString(base64)
}

/** The delegation whose text is given. */
export const fromText = async (text) => {
  const { ok, error } = await Delegation.extract(decodeLink(base64.decode(text)).multihash.digest)
  if (error) throw error
  return ok
}
