"""boto3: requests that it signs itself, which pass as they are."""
import sys
import boto3
from botocore.config import Config

column, _, base = sys.argv[1:4]
s3 = boto3.client(
    "s3",
    endpoint_url=base,
    region_name="us-east-1",
    aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key="not-a-key-but-enough-to-sign-with",
    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
)
if column == "upload":
    s3.put_object(Bucket="bytes", Key="0", Body=b"u" * 5_000_000)
elif column == "download":
    print("got", len(s3.get_object(Bucket="chunks", Key="5000000")["Body"].read()))
else:
    s3.head_object(Bucket="bytes", Key="10")
print("done")
