// The everyday life of @aws-sdk/client-s3 and lib-storage; the bucket is the first argument.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import {
  CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand,
  HeadObjectCommand, PutObjectCommand, S3Client, paginateListObjectsV2,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

const Bucket = process.argv[2]
const KEYS = ['a b+c/ü%20?x#.txt', 'dir//x', 'plain', "it's (a) *~!", '😀']
const client = new S3Client({ endpoint: process.env.AWS_ENDPOINT_URL, forcePathStyle: true, maxAttempts: 1 })
const bytesOf = async (Key, rest = {}) =>
  Buffer.from(await (await client.send(new GetObjectCommand({ Bucket, Key, ...rest }))).Body.transformToByteArray())

await client.send(new CreateBucketCommand({ Bucket }))
for (const Key of KEYS) {
  await client.send(new PutObjectCommand({ Bucket, Key, Body: Key, Metadata: { k: 'v' } }))
  assert.equal((await bytesOf(Key)).toString(), Key)
}
const listed = []
for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket }))
  listed.push(...page.Contents.map((object) => object.Key))
assert.deepEqual(listed.sort(), [...KEYS].sort())

for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256']) {
  await client.send(new PutObjectCommand({ Bucket, Key: 'sum', Body: 'hello', ChecksumAlgorithm }))
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }))
  assert.ok(head[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm)
}

// A stream has its checksum in a trailer.
const stream = () => Readable.from([Buffer.from('str'), Buffer.from('eam')])
await client.send(new PutObjectCommand({ Bucket, Key: 'stream', Body: stream(), ContentLength: 6 }))
assert.equal((await bytesOf('stream')).toString(), 'stream')

const large = Buffer.alloc(12 << 20, 7)
await new Upload({ client, params: { Bucket, Key: 'large', Body: Readable.from([large]) } }).done()
assert.ok((await bytesOf('large')).equals(large))
assert.equal((await bytesOf('large', { Range: 'bytes=6000000-6000008' })).length, 9)

const CopySource = `${Bucket}/${KEYS[0].split('/').map(encodeURIComponent).join('/')}`
await client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }))
assert.equal((await bytesOf('copy')).toString(), KEYS[0])

await assert.rejects(
  client.send(new PutObjectCommand({ Bucket, Key: 'plain', Body: 'x', IfNoneMatch: '*' })),
  { name: 'PreconditionFailed' },
)
await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'none' })), { name: 'NoSuchKey' })

const Objects = [...KEYS, 'sum', 'stream', 'large', 'copy'].map((Key) => ({ Key }))
const { Deleted } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
assert.equal(Deleted.length, Objects.length)
await client.send(new DeleteBucketCommand({ Bucket }))
